"""What signs browsers in, and what their sessions are signed with, over all machines."""

from __future__ import annotations

import hashlib
import logging
import secrets
from typing import Final

from cis490_receiver.errors import StorageFailed, StorageFull
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import Database, Row
from cis490_receiver.state.base.signing_in import Code
from cis490_receiver.state.codes import LIFETIME_SECONDS

log = logging.getLogger(__name__)

_KEY: Final = "session-key"
_KEY_BYTES: Final = 32
_LIFETIME_NS: Final = LIFETIME_SECONDS * 10**9
#: Older ones give way.
_MOST: Final = 100
_GOOD: Final = "sha256 = %s AND expires_ns > %s AND expires_ns <= %s"
_COLUMNS: Final = "sha256, token, token_sha256, expires_ns"


class PostgresSessionKey:
    """See `state.base.signing_in.SessionKey`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._document = Document(database, _KEY)

    def load(self) -> bytes:
        """See `SessionKey.load`."""
        try:
            self._database.write(
                "INSERT INTO documents (name, content) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (_KEY, secrets.token_hex(_KEY_BYTES)),
            )
            key = bytes.fromhex(self._document.read() or "")
            if len(key) >= _KEY_BYTES:
                return key
            reason = "too short"
        except (StorageFailed, StorageFull) as exc:
            reason = exc.reason
        except ValueError:
            reason = "not in hex digits"
        remedy = "sessions end with this process"
        log.warning(event("session-key-unusable", file=_KEY, reason=reason, remedy=remedy))
        return secrets.token_bytes(_KEY_BYTES)


class PostgresCodes:
    """See `state.base.signing_in.SignInCodes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, token: str, token_sha256: str, now_ns: int) -> str:
        """See `SignInCodes.make`."""
        text = secrets.token_urlsafe(24)
        with self._database.transaction() as connection:
            connection.execute(
                b"DELETE FROM sign_in_codes WHERE expires_ns <= %s OR sha256 IN"
                b" (SELECT sha256 FROM sign_in_codes ORDER BY expires_ns DESC OFFSET %s)",
                (now_ns, _MOST - 1),
            )
            connection.execute(
                b"INSERT INTO sign_in_codes VALUES (%s, %s, %s, %s)",
                (_digest(text), token, token_sha256, now_ns + _LIFETIME_NS),
            )
        return text

    def find(self, text: str, now_ns: int) -> Code | None:
        """See `SignInCodes.find`.

        Raises:
            DatabaseUnavailable: it is not known.
        """
        sql = f"SELECT {_COLUMNS} FROM sign_in_codes WHERE {_GOOD}"
        return _code(self._database.read(sql, _of(text, now_ns)))

    def take(self, text: str, now_ns: int) -> Code | None:
        """See `SignInCodes.take`. Where the database breaks off, the code may be gone."""
        sql = f"DELETE FROM sign_in_codes WHERE {_GOOD} RETURNING {_COLUMNS}"
        return _code(self._database.write_once(sql, _of(text, now_ns)))


def _of(text: str, now_ns: int) -> tuple[str, int, int]:
    return _digest(text), now_ns, now_ns + _LIFETIME_NS


def _code(rows: list[Row]) -> Code | None:
    return Code(*rows[0]) if rows else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()

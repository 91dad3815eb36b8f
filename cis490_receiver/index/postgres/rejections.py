"""The PUTs that stored nothing, in rows: bounded in number and by rate, and never waited for.

Each is committed without a wait for any disk. While the database is away facts are dropped at once, for some seconds
after each try that failed, so that an answer is not slowed by what it does not need.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cis490_receiver.errors import StorageFailed, StorageFull
from cis490_receiver.index.token_bucket import TokenBucket
from cis490_receiver.logfmt import event
from cis490_receiver.models import Rejection
from cis490_receiver.postgres.pool import Database

log = logging.getLogger(__name__)

#: In the order in which they are told.
KINDS: Final = ("authenticated", "repeat", "unauthenticated")
#: How many facts of a kind are kept, and after how many of its own a process looks whether there are more.
MOST: Final = 50_000
_TRIM_EVERY: Final = 1000
#: How many facts one process writes a second, and how many at once.
RATE: Final = 100.0
BURST: Final = 1000.0
UNAUTHENTICATED_RATE: Final = 5.0
UNAUTHENTICATED_BURST: Final = 50.0
#: How long nothing is tried after something failed, in seconds.
REST_SECONDS: Final = 5.0
_BATCH: Final = 1000
_INSERT: Final = b"INSERT INTO rejections (kind, received_at_ns, line) VALUES (%s, %s, %s)"


class PostgresRejections:
    """See `index.base.RejectionLog`. `database` is one for this alone, whose patience is short."""

    def __init__(
        self, database: Database, *, most: int = MOST, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._most = most
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._written = dict.fromkeys(KINDS, 0)
        self._rests_until = float("-inf")
        self._buckets = {
            "authenticated": TokenBucket(RATE, BURST, monotonic),
            "repeat": TokenBucket(RATE, BURST, monotonic),
            "unauthenticated": TokenBucket(UNAUTHENTICATED_RATE, UNAUTHENTICATED_BURST, monotonic),
        }

    def record(self, rejection: Rejection) -> None:
        """See `RejectionLog.record`."""
        kind = _kind_of(rejection)
        if self._monotonic() < self._rests_until or not self._buckets[kind].take():
            return
        try:
            self._write(kind, rejection)
        except (StorageFailed, StorageFull) as exc:
            self._rests_until = self._monotonic() + REST_SECONDS
            log.error(event("rejection-lost", file="database", reason=exc.reason))

    def take_over(self, facts: Sequence[Rejection]) -> None:
        """See `RejectionLog.take_over`."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(_INSERT, [_row(fact) for fact in facts])

    def since(self, ns: int) -> Iterator[Rejection]:
        """See `RejectionLog.since`."""
        for kind in KINDS:
            before = (1 << 63) - 1
            while rows := self._database.read(
                "SELECT number, line FROM rejections WHERE kind = %s AND number < %s AND received_at_ns >= %s"
                " ORDER BY number DESC LIMIT %s",
                (kind, before, ns, _BATCH),
            ):
                for _, line in rows:
                    with contextlib.suppress(ValueError):
                        yield Rejection.from_line(line.encode())
                before = rows[-1][0]

    def _write(self, kind: str, rejection: Rejection) -> None:
        with self._database.transaction() as connection:
            connection.execute(b"SET LOCAL synchronous_commit = off")
            connection.execute(b"SET LOCAL statement_timeout = '1s'")
            connection.execute(_INSERT, _row(rejection))
            if self._is_time_to_trim(kind):
                connection.execute(
                    b"DELETE FROM rejections WHERE kind = %s AND number <= (SELECT number FROM rejections"
                    b" WHERE kind = %s ORDER BY number DESC OFFSET %s LIMIT 1)",
                    (kind, kind, self._most),
                )

    def _is_time_to_trim(self, kind: str) -> bool:
        with self._lock:
            self._written[kind] += 1
            return self._written[kind] % min(_TRIM_EVERY, self._most) == 0


def _row(rejection: Rejection) -> tuple[str, int, str]:
    return _kind_of(rejection), rejection.received_at_ns, rejection.to_line().decode("ascii")


def _kind_of(rejection: Rejection) -> str:
    if not rejection.authenticated:
        return "unauthenticated"
    return "repeat" if rejection.status < 300 else "authenticated"

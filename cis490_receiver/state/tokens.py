"""tokens.toml: tokens of single hosts and readers, beside the fleet's one.

The file holds digests, never tokens. It is read again when it changed, so that a token can be added or revoked
without a restart. A file that cannot be read leaves the last good one in force; one that was removed revokes
every token in it.
"""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cis490_receiver import protocol
from cis490_receiver.errors import ConfigError
from cis490_receiver.files import atomic
from cis490_receiver.files.watched import WatchedFile
from cis490_receiver.state.base.tokens import SCOPES, Token, is_host_pattern


def parse_tokens(text: str) -> list[Token]:
    """Read the content of a tokens.toml.

    Raises:
        ValueError: it is none; the text says why.
    """
    data = tomllib.loads(text)
    if data.keys() - {"token"} or not isinstance(data.get("token", []), list):
        raise ValueError("only [[token]] tables are expected")
    tokens = [_parse(entry) for entry in data.get("token", [])]
    names = [token.name for token in tokens]
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice")
    return tokens


def _parse(entry: Any) -> Token:
    known = {"name", "sha256", "hosts", "scopes", "expires"}
    if not isinstance(entry, dict) or entry.keys() - known or not entry.keys() >= known - {"expires"}:
        raise ValueError("a token has name, sha256, hosts, scopes and perhaps expires")
    name, sha256, hosts, scopes = (entry[key] for key in ("name", "sha256", "hosts", "scopes"))
    if not isinstance(name, str) or not protocol.is_valid_id(name):
        raise ValueError("a token's name obeys the rule for ids")
    if not isinstance(sha256, str) or not protocol.is_sha256(sha256.lower()):
        raise ValueError(f"{name}: sha256 must be 64 hex digits")
    if (
        not isinstance(hosts, str)
        or not is_host_pattern(hosts)
        or not isinstance(scopes, list)
        or not set(scopes) <= set(SCOPES)
    ):
        raise ValueError(f"{name}: hosts is a pattern, scopes a list of {', '.join(SCOPES)}")
    expires = entry.get("expires")
    if isinstance(expires, dt.datetime) or not isinstance(expires, dt.date | None):
        raise ValueError(f"{name}: expires is a date such as 2027-01-31")
    return Token(name, sha256.lower(), hosts, frozenset(scopes), expires)


def format_tokens(tokens: Sequence[Token]) -> str:
    """The content of a tokens.toml, made by `cis490-receiver token`."""
    tables = []
    for token in tokens:
        lines = [
            "[[token]]",
            f"name = {json.dumps(token.name)}",
            f"sha256 = {json.dumps(token.sha256)}",
            f"hosts = {json.dumps(token.hosts)}",
            f"scopes = {json.dumps(sorted(token.scopes))}",
        ]
        if token.expires is not None:
            lines.append(f"expires = {token.expires.isoformat()}")
        tables.append("\n".join(lines) + "\n")
    return "# Written by `cis490-receiver token`; read again when it changes.\n\n" + "\n".join(tables)


class TokenFile:
    """See `state.base.tokens.TokenList`. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = WatchedFile(
            path, _by_digest, name="tokens", describe=lambda tokens: {"tokens": len(tokens)}
        )

    def find(self, digest: str) -> Token | None:
        """See `TokenList.find`."""
        return (self._file.current() or {}).get(digest)

    def all(self) -> list[Token]:
        """See `TokenList.all`."""
        try:
            return parse_tokens(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as exc:
            raise ConfigError(f"tokens_file: cannot read {self._path}: {exc}") from exc

    def change(self, change: Callable[[Sequence[Token]], Sequence[Token]]) -> None:
        """See `TokenList.change`."""
        try:
            atomic.replace_file(self._path, lambda: format_tokens(change(self.all())).encode("utf-8"))
        except OSError as exc:
            raise ConfigError(f"tokens_file: cannot write {self._path}: {exc.strerror}") from exc


def _by_digest(text: bytes) -> dict[str, Token]:
    return {token.sha256: token for token in parse_tokens(text.decode("utf-8"))}

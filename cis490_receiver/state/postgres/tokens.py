"""Tokens in a document, which reads as a tokens.toml does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cis490_receiver.errors import ConfigError, StorageFailed, StorageFull
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.tokens import Token
from cis490_receiver.state.postgres.watched import WatchedDocument
from cis490_receiver.state.tokens import format_tokens, parse_tokens

_TOKENS: Final = "tokens"


class PostgresTokens:
    """See `state.base.tokens.TokenList`. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self._document = Document(database, _TOKENS)
        self._watched = WatchedDocument(
            self._document, _by_digest, name="tokens", describe=lambda tokens: {"tokens": len(tokens)}
        )

    def find(self, digest: str) -> Token | None:
        """See `TokenList.find`."""
        return (self._watched.current() or {}).get(digest)

    def all(self) -> list[Token]:
        """See `TokenList.all`."""
        try:
            return parse_tokens(self._document.read() or "")
        except (StorageFailed, ValueError) as exc:
            raise ConfigError(f"the tokens in the database cannot be read: {_why(exc)}") from exc

    def change(self, change: Callable[[Sequence[Token]], Sequence[Token]]) -> None:
        """See `TokenList.change`. Where the database breaks off, they may have been changed; `all` tells."""

        def changed(text: str) -> str:
            try:
                before = parse_tokens(text)
            except ValueError as exc:
                raise ConfigError(f"the tokens in the database cannot be read: {exc}") from exc
            return format_tokens(change(before))

        try:
            self._document.change(changed)
        except (StorageFailed, StorageFull) as exc:
            raise ConfigError(f"the tokens in the database cannot be changed: {_why(exc)}") from exc


def _why(exc: Exception) -> str:
    return exc.reason if isinstance(exc, StorageFailed | StorageFull) else str(exc)


def _by_digest(text: str) -> dict[str, Token]:
    return {token.sha256: token for token in parse_tokens(text)}

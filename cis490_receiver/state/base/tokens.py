"""Tokens of single hosts and readers, beside the fleet's one. Digests are kept, never tokens."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

SCOPES: Final = ("ship", "read", "admin")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token is good for."""

    name: str
    #: SHA-256 of the token, as 64 hex digits.
    sha256: str
    #: A pattern such as ``lab-07`` or ``lab-*`` (fnmatch(3)): the hosts that it may ship as.
    hosts: str
    scopes: frozenset[str]
    #: The first day (UTC) on which it is not good any more.
    expires: dt.date | None = None

    def allows_host(self, host_id: str) -> bool:
        """Whether it may ship as `host_id`."""
        return fnmatch.fnmatchcase(host_id, self.hosts)

    def is_expired(self, now_ns: int) -> bool:
        """Whether its day has come."""
        today = dt.datetime.fromtimestamp(now_ns // 10**9, tz=dt.UTC).date()
        return self.expires is not None and today >= self.expires


def is_host_pattern(text: str) -> bool:
    """Whether `text` is made of what hosts' ids and patterns for them are made of."""
    return re.fullmatch(r"[A-Za-z0-9._*?\[\]!-]{1,128}", text) is not None


class TokenList(Protocol):
    """The tokens of one receiver. Any number of processes and threads may use it at once."""

    def find(self, digest: str) -> Token | None:
        """The token whose SHA-256 is `digest`, expired or not. Asked at each request, so it looks at what was
        changed within a second, in every process, and costs nothing in between. Tokens that cannot be read leave the
        last good ones in force; a list that was removed revokes all of them."""
        ...

    def all(self) -> Sequence[Token]:
        """All tokens, as they are now; none when there is no list.

        Raises:
            ConfigError: they cannot be read.
        """
        ...

    def change(self, change: Callable[[Sequence[Token]], Sequence[Token]]) -> None:
        """Put what `change` makes of the tokens in their place; what it raises leaves them as they are. Two changes at
        once follow one another: neither brings back what the other took away. Once this returns it is on stable
        storage; after a crash before that there are those from before or those from after it.

        Raises:
            ConfigError: they cannot be read or written, and stay as they are.
        """
        ...

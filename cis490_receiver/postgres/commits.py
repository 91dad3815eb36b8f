"""Commits that are as safe as the server says, and that end.

The server's own limits do not hold for a commit's wait for a standby: ``statement_timeout`` ends before it. So a commit
that takes too long is broken off by a request to cancel it. The transaction is committed then, and may be lost.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from cis490_receiver.postgres.while_any import WhileAny

Connection = psycopg.Connection[tuple[Any, ...]]

#: How long a commit may take, in seconds.
COMMIT_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.5
#: How long the request to cancel one may take.
_CANCEL_SECONDS: Final = 5.0


class UnsafeCommitError(psycopg.OperationalError):
    """A transaction was committed, and a failure of the server may still take it away."""


@dataclass(slots=True)
class _UnderWay:
    """Attributes:
    due: when it is to be over, on the monotonic clock.
    lock: held by who breaks it off, so that nothing else on the connection is met.
    """

    due: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_over: bool = False
    is_broken_off: bool = False


def commit(connection: Connection, seconds: float = COMMIT_SECONDS) -> None:
    """Commit, and see to it that the server waited for what it should: a wait for its standby that was broken off
    ends in a commit with a mere warning. After `seconds` it is broken off, and the connection is closed.

    Raises:
        UnsafeCommitError: it did not wait.
        psycopg.Error: it is not known whether it was committed.
    """
    warnings: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "a warning")

    this = _UnderWay(time.monotonic() + seconds)
    connection.add_notice_handler(note)
    try:
        with _BREAKING_OFF.asking(connection, this):
            connection.commit()
    finally:
        connection.remove_notice_handler(note)
        with this.lock:
            this.is_over = True
        if this.is_broken_off:
            # The request may arrive late, and would meet whatever is asked next.
            connection.close()
    if warnings:
        raise UnsafeCommitError(f"the commit may not be safe: {warnings[0]}")


def _break_off(commits: Mapping[Connection, _UnderWay]) -> None:
    for connection, this in commits.items():
        with this.lock:
            if this.is_over or time.monotonic() < this.due:
                continue
            this.is_broken_off = True
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL_SECONDS)


_BREAKING_OFF: Final = WhileAny(_break_off, _LOOK_SECONDS, name="commit-limit")

"""A database that is away is waited for by one thread, and not by every request.

Who could make no connection begins the outage. A thread tries to connect again and again then. Requests wait for it as
long as the outage is young, so that a standby can be promoted without their notice, and are told at once later; what
comes after the first connection that is made is served as before.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg

from cis490_receiver.logfmt import event
from cis490_receiver.postgres.failures import reason_of

log = logging.getLogger(__name__)

#: The pause between two tries, in seconds.
EVERY_SECONDS: Final = 0.25


class OutageError(psycopg.OperationalError):
    """The database is known to be away."""


class Outage:
    """Whether the database is known to be away. Threads of one process may share it."""

    def __init__(
        self, connect: Callable[[], None], patience_seconds: float, over: Callable[[], None]
    ) -> None:
        """`connect` makes a connection to the primary, or raises psycopg.Error, in bounded time. Requests wait until
        the outage is older than `patience_seconds`. `over` is called when it ends."""
        self._connect = connect
        self._patience_seconds = patience_seconds
        self._over = over
        self._changed = threading.Condition()
        self._is_looking = False
        self._since: float | None = None
        self._closed = threading.Event()

    def wait(self) -> None:
        """Wait until it is not away.

        Raises:
            OutageError: it is.
        """
        with self._changed:
            if self._since is None:
                return
            left = self._since + self._patience_seconds - time.monotonic()
            if not self._changed.wait_for(lambda: self._since is None, max(left, 0.0)):
                raise OutageError("the database does not answer, and is tried again and again")

    def begin(self) -> None:
        """See whether it is away, and look for it until it is back."""
        with self._changed:
            if self._is_looking or self._closed.is_set():
                return
            self._is_looking = True
        threading.Thread(target=self._look, name="database-outage", daemon=True).start()

    def close(self) -> None:
        """Look for it no more."""
        self._closed.set()

    def _look(self) -> None:
        try:
            while not self._closed.is_set() and self._is_away():
                self._closed.wait(EVERY_SECONDS)
        finally:
            with self._changed:
                was_away = self._since is not None
                self._since, self._is_looking = None, False
                self._changed.notify_all()
        if was_away:
            log.warning(event("database-back"))
            with contextlib.suppress(psycopg.Error):
                self._over()

    def _is_away(self) -> bool:
        asked = time.monotonic()
        try:
            self._connect()
        except psycopg.Error as exc:
            with self._changed:
                begins, self._since = self._since is None, self._since or asked
            if begins:
                log.error(event("database-away", reason=reason_of(exc)))
            return True
        return False

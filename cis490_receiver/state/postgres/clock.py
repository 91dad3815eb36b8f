"""The time that all machines of a cluster share: the database's.

What one machine stamps, another one judges: when an episode came, whether a host is silent, in which hour an alert was
raised, when an upload ends. So none of them goes by its own clock, which may be hours from another's.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.expressions import nanoseconds
from cis490_receiver.postgres.pool import Database

log = logging.getLogger(__name__)

#: How long an answer of the database holds; between two, time goes as this machine's monotonic clock does.
_HOLDS_NS: Final = 60 * 10**9
#: How long after one that did not come another is asked for.
_AGAIN_NS: Final = 5 * 10**9
#: From which difference on it is told that this machine's clock is wrong: stores refuse requests that are signed 15
#: minutes from their time (Amazon S3 API, *RequestTimeTooSkewed*).
_TELL_NS: Final = 60 * 10**9
_ASK: Final = f"SELECT {nanoseconds('clock_timestamp()')}"


class DatabaseClock:
    """See `clock.Clock`. Asks the database once a minute. As long as it has never answered, it is this machine's clock.
    Threads and processes may share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        #: What to add to the monotonic clock, and when that was asked for.
        self._known: tuple[int, int] | None = None

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        known, now = self._known, time.monotonic_ns()
        if known is None or now - known[1] > _HOLDS_NS:
            known = self._ask(known)
        return time.monotonic_ns() + known[0]

    def _ask(self, known: tuple[int, int] | None) -> tuple[int, int]:
        # One asks, and whoever has an older answer goes by that meanwhile.
        if not self._lock.acquire(blocking=known is None):
            assert known is not None
            return known
        try:
            if self._known is not None and self._known is not known:
                return self._known
            before = time.monotonic_ns()
            try:
                at_ns = int(self._database.read(_ASK)[0][0])
            except StorageFailed:
                ahead_ns = time.time_ns() - before if known is None else known[0]
                self._known = ahead_ns, before - _HOLDS_NS + _AGAIN_NS
                return self._known
            after = time.monotonic_ns()
            self._tell(time.time_ns() - at_ns)
            self._known = at_ns - (before + after) // 2, after
            return self._known
        finally:
            self._lock.release()

    def _tell(self, ahead_ns: int) -> None:
        if abs(ahead_ns) > _TELL_NS:
            seconds = round(ahead_ns / 1e9)
            log.warning(
                event("clock-apart", seconds=seconds, remedy="set this machine's clock, or the database's")
            )

"""The time, as something that is handed in, so that a test can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the receiver reads the time."""

    def now_ns(self) -> int:
        """Wall-clock time: nanoseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.time_ns()

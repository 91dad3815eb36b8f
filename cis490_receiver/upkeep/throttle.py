"""Read stored episodes no faster than others can spare the disk."""

from __future__ import annotations

import time


class Throttle:
    """Holds a reader to `bytes_per_second`; None is no limit."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._started = time.monotonic()
        self._read = 0

    def spend(self, count: int) -> None:
        """Note that `count` bytes were read, and wait as long as that is too fast."""
        if self._rate is not None:
            self._read += count
            ahead = self._read / self._rate - (time.monotonic() - self._started)
            if ahead > 0:
                time.sleep(ahead)

"""A rate that may be exceeded for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TokenBucket:
    """Lets `rate` a second pass, and `burst` at once. Threads may share it."""

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._tokens = burst
        self._at = monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether one more may pass now."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

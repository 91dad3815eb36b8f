"""How long to wait before another try."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

MAX_WAIT_SECONDS: Final = 900.0


class Backoff:
    """How long to wait after each failure in a row: doubling, with jitter, so that a fleet whose receiver
    comes back does not come back all at once."""

    def __init__(
        self,
        *,
        first_seconds: float = 1.0,
        max_seconds: float = MAX_WAIT_SECONDS,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._first = first_seconds
        self._max = max_seconds
        self._rng = rng
        self._failures = 0

    def reset(self) -> None:
        """Something went well."""
        self._failures = 0

    def next_seconds(self, retry_after: float | None = None) -> float:
        """The wait after one more failure: never shorter than `retry_after`, as far as that is sensible."""
        ceiling = min(self._max, self._first * math.pow(2, min(self._failures, 30)))
        self._failures += 1
        wait = ceiling / 2 + self._rng() * ceiling / 2
        if retry_after is None:
            return wait
        # Hosts that are told the same number must not keep it to the second.
        return max(wait, min(retry_after, 86400.0) * (1 + self._rng() / 4))

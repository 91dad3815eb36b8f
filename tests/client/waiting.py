"""Wait for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_SECONDS = 60.0


def until(condition: Callable[[], object], what: str, *, seconds: float = LIMIT_SECONDS) -> None:
    """Return when `condition` holds.

    Raises:
        AssertionError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)

"""A command that is stopped and still tells what it did."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


def stop_in_order() -> list[int]:
    """Let ^C, and a timer's stop, end the run with its place noted and its report printed; gives a list that gets
    which it was."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return received

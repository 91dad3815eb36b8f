"""The connections that wait for their client and hold no thread."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator
from typing import Any


class Wait(enum.Enum):
    """What a connection waits for. In this order they give way when there are too many connections."""

    #: The client's end, after ours.
    LINGER = enum.auto()
    #: The first byte of the first request.
    SILENT = enum.auto()
    #: The rest of a head.
    HEAD = enum.auto()
    #: The next request.
    KEPT = enum.auto()


class WaitingRoom:
    """Connections by what they wait for, each with a deadline. For the main loop alone: nothing here is locked."""

    def __init__(self) -> None:
        # Each in the order of coming, which is the order of the deadlines: all of one kind wait equally long.
        self._queues: dict[Wait, dict[Any, float]] = {wait: {} for wait in Wait}
        self._wait_of: dict[Any, Wait] = {}

    def __contains__(self, conn: object) -> bool:
        return conn in self._wait_of

    def __len__(self) -> int:
        return len(self._wait_of)

    def wait_of(self, conn: Any) -> Wait:
        """What `conn` waits for."""
        return self._wait_of[conn]

    def put(self, conn: Any, wait: Wait, seconds: float) -> None:
        """Let `conn` wait for `wait` from now on, for `seconds` at most."""
        self.remove(conn)
        self._queues[wait][conn] = time.monotonic() + seconds
        self._wait_of[conn] = wait

    def remove(self, conn: Any) -> None:
        """`conn`, if it was here, waits no more."""
        if wait := self._wait_of.pop(conn, None):
            del self._queues[wait][conn]

    def expired(self, now: float) -> list[tuple[Any, Wait]]:
        """Those whose deadline has passed, with what they waited for."""
        found = []
        for wait, queue in self._queues.items():
            for conn, deadline in queue.items():
                if deadline > now:
                    break
                found.append((conn, wait))
        return found

    def oldest(self) -> Any | None:
        """The one to give way to a new connection: the oldest of those that can be missed most easily."""
        for queue in self._queues.values():
            if queue:
                return next(iter(queue))
        return None

    def hurry(self, deadline: float) -> None:
        """Let none wait beyond `deadline` for a request that has not begun."""
        for wait in (Wait.SILENT, Wait.KEPT):
            queue = self._queues[wait]
            queue.update({conn: min(until, deadline) for conn, until in queue.items()})

    def all(self) -> Iterator[Any]:
        """Every connection."""
        return iter(list(self._wait_of))

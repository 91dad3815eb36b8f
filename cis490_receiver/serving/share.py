"""Who has one of a worker's threads, who waits for one, and who gives one up."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

#: When requests wait for a thread, a body whose mean rate is below this loses its own.
CROWDED_BYTES_PER_SECOND: Final = 16 * 1024
#: For each so many threads, one more is freed than is waited for, for who comes next.
_THREADS_FOR_A_SPARE: Final = 16


class Receiving(Protocol):
    """A connection's socket, as far as is asked here."""

    @property
    def gives_way(self) -> bool: ...
    def crowding_rate(self) -> float | None: ...
    def give_way(self) -> None: ...


class ThreadShare:
    """The connections that have a thread or wait for one. Changed by the main loop alone."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._busy: set[Any] = set()
        self._queue: deque[Any] = deque()
        self._newest_first = True

    @property
    def crowded(self) -> bool:
        """Whether there is no thread to spare."""
        return len(self._busy) >= self._threads

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return len(self._queue)

    def take(self, conn: Any) -> bool:
        """Let `conn` have a thread now, or wait for one (False)."""
        waits = self.crowded
        self._busy.add(conn)
        if waits:
            self._queue.append(conn)
        return not waits

    def free(self, conn: Any) -> Any | None:
        """`conn` is done with its thread. The one to have it now, if any waits: the newest and the oldest in turns, so
        that neither a burst of others nor a steady stream of them keeps anybody out."""
        self._busy.discard(conn)
        if not self._queue:
            return None
        self._newest_first = not self._newest_first
        return self._queue.popleft() if self._newest_first else self._queue.pop()

    def room(self) -> int:
        """How many more requests could have a thread if everyone too slow gave theirs up."""
        leaving, slow = self._slow()
        threads = leaving + len(slow)
        # One more than there seems to be room for: the newest is served before others that wait.
        return max(threads - len(self._queue), 1) if threads else 0

    def relieve(self) -> None:
        """Tell as many of the slowest to give their threads up as others wait for, and a few more."""
        leaving, slow = self._slow()
        if self._queue:
            wanted = len(self._queue) + self._threads // _THREADS_FOR_A_SPARE
            for sock in slow[: max(wanted - leaving, 0)]:
                sock.give_way()

    def _slow(self) -> tuple[int, list[Receiving]]:
        """How many are about to give up their threads, and those who could be told to, the slowest first."""
        socks: list[Receiving] = [conn.sock for conn in self._busy]
        rates = [(rate, sock) for sock in socks if (rate := sock.crowding_rate()) is not None]
        rates.sort(key=lambda pair: pair[0])
        slow = [sock for rate, sock in rates if rate < CROWDED_BYTES_PER_SECOND]
        return sum(sock.gives_way for sock in socks), slow

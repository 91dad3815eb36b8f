"""One write and one sync for all that are waiting for it.

The first thread that comes leads: it writes what it has. Those that come meanwhile wait, and when it is done one of
them writes all of theirs. So a line costs a share of a sync when many uploads end at once, and no more than a
sync when one does.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T, R]):
    item: T
    done: bool = False
    result: R | None = None
    failure: Exception | None = None


class GroupCommit(Generic[T, R]):
    """Hands items to `write`, which puts them on stable storage, all or none, and gives what became of each. Threads
    share it."""

    def __init__(self, write: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._write = write
        self._changed = threading.Condition()
        self._waiting: list[_Waiting[T, R]] = []
        self._led = False

    def submit(self, item: T) -> R:
        """What became of `item`, when it was written.

        Raises:
            Exception: what `write` raised for the batch that `item` was in.
        """
        mine = _Waiting[T, R](item)
        with self._changed:
            self._waiting.append(mine)
            while self._led and not mine.done:
                self._changed.wait()
            if not mine.done:
                self._led = True
                batch, self._waiting = self._waiting, []
        if not mine.done:
            self._lead(batch)
        if mine.failure is not None:
            raise mine.failure
        # There is a result where there was no failure.
        return mine.result  # type: ignore[return-value]

    def _lead(self, batch: list[_Waiting[T, R]]) -> None:
        # What a thread that is being ended leaves behind: nobody may take it for written.
        failure: Exception | None = OSError(errno.ECANCELED, "the writer was ended")
        try:
            results = self._write([waiting.item for waiting in batch])
            for waiting, result in zip(batch, results, strict=True):
                waiting.result = result
            failure = None
        except Exception as exc:
            failure = exc
        finally:
            with self._changed:
                for waiting in batch:
                    waiting.done, waiting.failure = True, failure
                self._led = False
                self._changed.notify_all()

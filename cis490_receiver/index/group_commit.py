"""One write and one sync for all lines that are waiting for it.

The first thread that comes leads: it writes its line. Those that come meanwhile wait, and when it is done one of
them writes all of theirs. So a line costs a share of a sync when many uploads end at once, and no more than a
sync when one does.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Waiting:
    line: bytes
    done: bool = False
    failure: Exception | None = None


class GroupCommit:
    """Hands lines to `write`, which puts them on stable storage, all or none. Threads share it."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._led = False

    def submit(self, line: bytes) -> None:
        """Return when `line` was written.

        Raises:
            Exception: what `write` raised for the batch that `line` was in.
        """
        mine = _Waiting(line)
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

    def _lead(self, batch: list[_Waiting]) -> None:
        # What a thread that is being ended leaves behind: nobody may take its lines for written.
        failure: Exception | None = OSError(errno.ECANCELED, "the writer was ended")
        try:
            self._write(b"".join(waiting.line for waiting in batch))
            failure = None
        except Exception as exc:
            failure = exc
        finally:
            with self._changed:
                for waiting in batch:
                    waiting.done, waiting.failure = True, failure
                self._led = False
                self._changed.notify_all()

"""Steps that are done beside the thread which receives the next bytes: one at a time, in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Beside:
    """Does one step at a time in a thread of its own. After one has failed none is done any more."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, step: Callable[[], None]) -> None:
        """Do `step`, beside the caller, once the one before it is done. Raises what that one did."""
        self.wait()
        self._thread = threading.Thread(target=self._do, args=(step,), name="piece-sender", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the last step is done. Raises what the first that failed did."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as exc:
            self._failure = exc

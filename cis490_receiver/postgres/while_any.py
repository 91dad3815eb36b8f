"""Something that is done again and again as long as anything asks for it, in a thread that there is for so long."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from cis490_receiver.errors import ReceiverError

K = TypeVar("K")
V = TypeVar("V")


class WhileAny(Generic[K, V]):
    """Threads may share it; a child process has a thread of its own."""

    def __init__(self, do: Callable[[Mapping[K, V]], None], every_seconds: float, *, name: str) -> None:
        """`do` is called every `every_seconds` with all that asks for it. A ReceiverError that it raises passes, and
        was logged by who raised it. `name` is the thread's."""
        self._do = do
        self._every_seconds = every_seconds
        self._name = name
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._asking: dict[K, V] = {}
        self._is_running = False

    @contextlib.contextmanager
    def asking(self, key: K, value: V) -> Iterator[None]:
        """Ask for it, for this block."""
        with self._lock:
            if self._process != os.getpid():
                self._process, self._asking, self._is_running = os.getpid(), {}, False
            self._asking[key] = value
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._asking.pop(key, None)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._every_seconds)
            with self._lock:
                asking = dict(self._asking)
                if not asking:
                    self._is_running = False
                    return
            with contextlib.suppress(ReceiverError):
                self._do(asking)

"""Who has an upload in this process goes on to have it, as long as the process lives: however long a store takes for a
piece, or a client for its next byte."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping

from cis490_receiver.errors import ReceiverError


class LeaseKeeper:
    """Renews the leases of a process, in a thread that there is while there are any. A child process has its own."""

    def __init__(self, renew: Callable[[Mapping[uuid.UUID, str]], None], every_seconds: float) -> None:
        """`renew` is called every `every_seconds` with all holders and the uploads that they have. A ReceiverError that
        it raises passes, and was logged by who raised it."""
        self._renew = renew
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._uploads: dict[uuid.UUID, str] = {}
        self._is_running = False

    @contextlib.contextmanager
    def keeping(self, upload_id: str, holder: uuid.UUID) -> Iterator[None]:
        """Renew the lease of an upload that `holder` has, for this block."""
        with self._lock:
            if self._process != os.getpid():
                self._process, self._uploads, self._is_running = os.getpid(), {}, False
            self._uploads[holder] = upload_id
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="lease-keeper", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._uploads.pop(holder, None)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._every_seconds)
            with self._lock:
                uploads = dict(self._uploads)
                if not uploads:
                    self._is_running = False
                    return
            with contextlib.suppress(ReceiverError):
                self._renew(uploads)

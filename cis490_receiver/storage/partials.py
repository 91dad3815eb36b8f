"""Uploads in pieces on the local disk: in ``incoming/``, beside those that come at once.

Each has a log (`partial_log`) and, until it ends, a file of bytes whose name tells recovery what any upload's name
does (`traces`), with the upload's own id for its last digits. A file of bytes with a log that has no verdict is
nobody's garbage, though nobody holds its lock. With its verdict in it, a log moves to ``receipts/``, where it answers
whoever asks again.

A writer holds the flock(2) of the log, so that there is one at a time, and that of the bytes, so that no recovery takes
them for a dead writer's. Both locks end with their process.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cis490_receiver.errors import UploadLocked
from cis490_receiver.files import atomic
from cis490_receiver.storage import partial_lines, partial_log, traces
from cis490_receiver.storage.base.partials import Announced, PartialUpload, Verdict
from cis490_receiver.storage.files import storage_errors, try_lock
from cis490_receiver.storage.folders import HostFolders
from cis490_receiver.storage.partial_file import PartialFile
from cis490_receiver.storage.publishing import Publisher
from cis490_receiver.storage.writing import Buffers

_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_POLL_SECONDS: Final = 0.02
#: How long the sum of what is still to come is believed.
_SUM_SECONDS: Final = 1.0


class FilesystemPartials:
    """See `storage.base.partials.Partials`. Holds no file open between calls: a fork is harmless."""

    def __init__(self, data_dir: Path) -> None:
        self._incoming = data_dir / "incoming"
        self._receipts = data_dir / partial_log.RECEIPTS
        self._publisher = Publisher(self._incoming, HostFolders(data_dir / "episodes"))
        self._buffers = Buffers()
        self._sum = (0.0, 0)

    def prepare(self) -> None:
        """Create the folder of receipts, durably.

        Raises:
            OSError: it cannot be made.
        """
        atomic.make_folder(self._receipts)

    def create(self, announced: Announced) -> PartialUpload:
        """See `Partials.create`."""
        upload_id = os.urandom(16).hex()
        path = self._incoming / traces.name_of(announced.upload.key, announced.upload.stamps, upload_id)
        with storage_errors("create"):
            # Before its log: bytes without one are garbage, and a log is a promise that there are some.
            fd = self._new_locked(path, os.O_WRONLY)
            try:
                self._create_log(self._log_of(upload_id), [partial_lines.first_line(announced)])
                self._sum = (0.0, 0)
                return PartialUpload(upload_id, announced, 0, announced.at_ns, None)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
            finally:
                os.close(fd)

    def create_ended(self, announced: Announced, verdict: Verdict) -> PartialUpload:
        """See `Partials.create_ended`."""
        upload_id = os.urandom(16).hex()
        with storage_errors("create"):
            path = self._receipts / partial_log.name_of(upload_id)
            self._create_log(path, [partial_lines.first_line(announced), partial_lines.verdict_line(verdict)])
            os.utime(path, ns=(verdict.at_ns, verdict.at_ns))
        return PartialUpload(upload_id, announced, 0, verdict.at_ns, verdict)

    def find(self, upload_id: str) -> PartialUpload | None:
        """See `Partials.find`."""
        with storage_errors("read"):
            # In this order: it moves from the one place to the other.
            state = partial_log.read(self._log_of(upload_id))
            return state or partial_log.read(self._receipts / partial_log.name_of(upload_id))

    @contextlib.contextmanager
    def lease(self, upload_id: str, *, wait_seconds: float) -> Iterator[PartialFile | None]:
        """See `Partials.lease`."""
        with storage_errors("lock"):
            partial = self._lease(upload_id, time.monotonic() + wait_seconds)
        if partial is None:
            yield None
            return
        try:
            yield partial
        finally:
            partial.close()

    def want(self, upload_id: str) -> None:
        """See `Partials.want`: the log has another time of change than its writer gave it."""
        with contextlib.suppress(OSError):
            os.utime(self._log_of(upload_id))

    def forget(self, upload_id: str) -> None:
        """See `Partials.forget`."""
        state = self.find(upload_id)
        with storage_errors("discard"):
            # Bytes without a log are garbage; a log without bytes would be a riddle.
            (self._receipts / partial_log.name_of(upload_id)).unlink(missing_ok=True)
            self._log_of(upload_id).unlink(missing_ok=True)
            if state is not None:
                self._bytes_of(state).unlink(missing_ok=True)

    def forget_before(self, ns: int) -> None:
        """See `Partials.forget_before`. A receipt's time of change is that of its verdict."""
        with storage_errors("discard"), os.scandir(self._receipts) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime_ns < ns:
                        os.unlink(entry)

    def waiting(self) -> Iterator[PartialUpload]:
        """See `Partials.waiting`."""
        with storage_errors("read"):
            names = os.listdir(self._incoming)
        for name in names:
            upload_id = partial_log.id_of(name)
            state = self.find(upload_id) if upload_id else None
            if state is not None and state.verdict is None:
                yield state

    def announced_bytes(self) -> int:
        """See `Partials.announced_bytes`."""
        good_until, total = self._sum
        if time.monotonic() > good_until:
            total = sum(one.announced.size_bytes - one.offset for one in self.waiting())
            self._sum = (time.monotonic() + _SUM_SECONDS, total)
        return total

    def _log_of(self, upload_id: str) -> Path:
        return self._incoming / partial_log.name_of(upload_id)

    def _bytes_of(self, state: PartialUpload) -> Path:
        upload = state.announced.upload
        return self._incoming / traces.name_of(upload.key, upload.stamps, state.upload_id)

    def _create_log(self, path: Path, lines: list[bytes]) -> None:
        fd = self._new_locked(path, os.O_RDWR | os.O_APPEND)
        try:
            atomic.append_lines(fd, path, lines)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(fd)

    def _new_locked(self, path: Path, flags: int) -> int:
        """A new file that recovery leaves alone while it is open."""
        while True:
            fd = os.open(path, _NEW | flags, atomic.FILE_MODE)
            try:
                # Between the two calls a starting receiver may take the file for a dead writer's.
                if try_lock(fd) and os.fstat(fd).st_nlink == 1:
                    return fd
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                os.close(fd)
                raise
            os.close(fd)

    def _lease(self, upload_id: str, deadline: float) -> PartialFile | None:
        path = self._log_of(upload_id)
        try:
            log_fd = os.open(path, os.O_RDWR | os.O_APPEND | _OLD)
        except FileNotFoundError:
            return None
        data: tuple[str, int] | None = None
        try:
            self._lock(log_fd, deadline)
            state = partial_log.read_open(log_fd, upload_id)
            if state is None or state.verdict is not None:
                os.close(log_fd)
                return None
            data = self._lease_bytes(state, deadline)
            return PartialFile(self._publisher, self._buffers, state, log_fd, data)
        except BaseException:
            if data is not None:
                os.close(data[1])
            os.close(log_fd)
            raise

    def _lease_bytes(self, state: PartialUpload, deadline: float) -> tuple[str, int] | None:
        path = self._bytes_of(state)
        try:
            fd = os.open(path, os.O_WRONLY | _OLD)
        except FileNotFoundError:
            return None
        try:
            # Recovery has it for a moment.
            self._lock(fd, deadline)
            status = os.fstat(fd)
        except BaseException:
            os.close(fd)
            raise
        if status.st_nlink == 1 and status.st_size >= state.offset:
            return path.name, fd
        # They are an episode's already, or were lost.
        os.close(fd)
        return None

    def _lock(self, fd: int, deadline: float) -> None:
        while not try_lock(fd):
            if time.monotonic() > deadline:
                raise UploadLocked
            time.sleep(_POLL_SECONDS)

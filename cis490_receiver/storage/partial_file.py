"""An upload in pieces that one writer has for itself: its bytes in one file of ``incoming/``, its log in another."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
from pathlib import Path
from typing import BinaryIO

from cis490_receiver.files import atomic
from cis490_receiver.storage import partial_lines, partial_log
from cis490_receiver.storage.base.partials import PartialUpload, Verdict
from cis490_receiver.storage.files import sha256_of, storage_errors
from cis490_receiver.storage.publishing import Publisher
from cis490_receiver.storage.writing import Buffers, HashingWriter

log = logging.getLogger(__name__)


class PartialFile:
    """See `storage.base.partials.Partial`. One thread at a time.

    A line of the log is written only when the bytes that it counts are on stable storage, and an episode's name is
    given only to bytes that are counted: two syncs for each step. What lies behind the last offset belongs to nobody
    and is cut off before the next byte comes.
    """

    def __init__(
        self,
        publisher: Publisher,
        buffers: Buffers,
        state: PartialUpload,
        log_fd: int,
        data: tuple[str, int] | None,
    ) -> None:
        """`log_fd` is locked, and so is the file `data`, a name in ``incoming/`` and its descriptor; None where its
        bytes are gone or an episode's already. Both descriptors are this object's to close.

        Raises:
            OSError: what is behind the offset cannot be cut off.
        """
        self._publisher = publisher
        self._state = state
        self._log_fd = log_fd
        self._log_path = Path(publisher.path_of(partial_log.name_of(state.upload_id)))
        self._began_at = state.offset
        self._name: str | None = data[0] if data else None
        self._fd: int | None = data[1] if data else None
        atomic.cut_torn_lines(log_fd)
        self._log_mtime = os.fstat(log_fd).st_mtime_ns
        self._writer: HashingWriter | None = None
        if self._fd is not None:
            if os.fstat(self._fd).st_size != state.offset:
                # A line that was taken back must not come to light again when the bytes that it counted are gone.
                os.fdatasync(log_fd)
                os.ftruncate(self._fd, state.offset)
            os.lseek(self._fd, state.offset, os.SEEK_SET)
            self._writer = HashingWriter(self._fd, buffers, state.offset)

    @property
    def state(self) -> PartialUpload:
        """See `Partial.state`."""
        return self._state

    @property
    def has_bytes(self) -> bool:
        """See `Partial.has_bytes`."""
        return self._writer is not None

    @property
    def size_bytes(self) -> int:
        """See `Incoming.size_bytes`."""
        return self._bytes.size_bytes

    @property
    def _bytes(self) -> HashingWriter:
        assert self._writer is not None
        return self._writer

    @property
    def _path(self) -> str:
        assert self._name is not None
        return self._publisher.path_of(self._name)

    def lend(self) -> memoryview:
        """See `Incoming.lend`."""
        with storage_errors("write"):
            return self._bytes.lend()

    def commit(self, count: int) -> None:
        """See `Incoming.commit`."""
        with storage_errors("write"):
            self._bytes.commit(count)

    def hexdigest(self) -> str:
        """See `Incoming.hexdigest`. Reads the file where this writer has not seen its beginning."""
        if self._began_at == 0:
            return self._bytes.hexdigest()
        with self.open() as stream, storage_errors("read"):
            return sha256_of(stream)

    def open(self) -> BinaryIO:
        """See `Incoming.open`."""
        with storage_errors("write"):
            self._bytes.flush()
        with storage_errors("open"):
            return open(self._path, "rb")

    def checkpoint(self, now_ns: int) -> None:
        """See `Partial.checkpoint`."""
        offset = self._bytes.size_bytes
        with storage_errors("fsync"):
            self._bytes.after_writing(lambda: self._count(offset, now_ns))

    def put_down(self, now_ns: int) -> None:
        """See `Partial.put_down`."""
        with storage_errors("write"):
            self._bytes.flush()
        with storage_errors("fsync"):
            if self._bytes.size_bytes != self._state.offset:
                self._count(self._bytes.size_bytes, now_ns)

    def sync(self) -> None:
        """See `Incoming.sync`. `put_down` has done it, but for a file that is not as long as what was written."""
        with storage_errors("fsync"):
            assert self._fd is not None
            if os.fstat(self._fd).st_size != self._bytes.size_bytes or not self._state.has_every_byte:
                raise OSError(errno.EIO, "the file has not the length that was written")

    def publish(self) -> str | None:
        """See `Incoming.publish`."""
        key = self._state.announced.upload.key
        with storage_errors("publish"):
            assert self._name is not None
            return str(key) if self._publisher.publish(self._name, key) else None

    def discard(self) -> None:
        """See `Incoming.discard`: the name decided, so there is nothing to be discarded."""

    def settle(self) -> None:
        """See `Incoming.settle`."""
        with storage_errors("settle"):
            assert self._fd is not None
            self._publisher.settle(self._state.announced.upload.key, os.fstat(self._fd).st_ino)

    def end(self, verdict: Verdict) -> None:
        """See `Partial.end`."""
        with storage_errors("fsync"):
            atomic.append_lines(self._log_fd, self._log_path, [partial_lines.verdict_line(verdict)])
        self._state = dataclasses.replace(self._state, verdict=verdict, offset=0, touched_ns=verdict.at_ns)
        # The verdict stands. Of the rest, what cannot be done now, or is not done when the power goes, is left to the
        # next start.
        with contextlib.suppress(OSError):
            if self._fd is not None and os.fstat(self._fd).st_nlink == 1:
                os.unlink(self._path)
        with contextlib.suppress(OSError):
            receipt = self._publisher.incoming.parent / partial_log.RECEIPTS / self._log_path.name
            os.utime(self._log_path, ns=(verdict.at_ns, verdict.at_ns))
            os.rename(self._log_path, receipt)

    def is_wanted(self) -> bool:
        """See `Partial.is_wanted`."""
        return os.fstat(self._log_fd).st_mtime_ns != self._log_mtime

    def close(self) -> None:
        """Let it go."""
        if self._writer is not None:
            self._writer.close()
        if self._fd is not None:
            os.close(self._fd)
        os.close(self._log_fd)

    def _count(self, offset: int, now_ns: int) -> None:
        assert self._fd is not None
        os.fdatasync(self._fd)
        atomic.append_lines(self._log_fd, self._log_path, [partial_lines.offset_line(offset, now_ns)])
        self._log_mtime = os.fstat(self._log_fd).st_mtime_ns
        self._state = dataclasses.replace(self._state, offset=offset, touched_ns=now_ns)

"""index.jsonl: one line a stored episode, append-only.

Every append opens the file by its name and locks the inode that bears the name, so a file that was swapped
(by reindex, or by a log rotation gone astray) is noticed at once and forked workers exclude each other.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cis490_receiver import atomic
from cis490_receiver.errors import StorageFailed, StorageFull
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode

log = logging.getLogger(__name__)

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TAIL_STEP: Final = 64 * 1024
_COPY_STEP: Final = 1 << 20


class Journal:
    """The file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the file when it is absent, durably."""
        with atomic.locked_file(self.path) as fd:
            if os.fstat(fd).st_size == 0:
                atomic.sync_folder(self.path.parent)

    def append(self, episode: Episode) -> None:
        """See `EpisodeIndex.append`.

        A torn line at the end, which a crash left, is mended first. When the write or its sync fails, the
        file is cut back to what it was: a retry writes the line anew, so that no failed sync is ever
        repeated in the hope that it means something the second time.
        """
        try:
            with atomic.locked_file(self.path) as fd:
                self._append(fd, episode.to_line())
        except OSError as exc:
            raise self._named(exc, "append") from exc

    def _append(self, fd: int, line: bytes) -> None:
        end = mend(fd)
        if end == 0:
            # The file may be new: by us, by another process a moment ago, or after a swap.
            atomic.sync_folder(self.path.parent)
        try:
            atomic.write_all(fd, line)
            os.fdatasync(fd)
        except OSError:
            try:
                os.ftruncate(fd, end)
            finally:
                self._write_anew(fd)
            raise

    def make_durable(self) -> None:
        """See `EpisodeIndex.make_durable`."""
        try:
            with atomic.locked_file(self.path) as fd:
                mend(fd)
                try:
                    os.fdatasync(fd)
                except OSError:
                    self._write_anew(fd)
                    raise
        except OSError as exc:
            raise self._named(exc, "sync") from exc

    def _named(self, exc: OSError, doing: str) -> StorageFull | StorageFailed:
        kind = StorageFull if exc.errno in _NO_SPACE else StorageFailed
        log.error(event(kind.code, doing=doing, file=self.path.name, reason=exc.strerror))
        return kind()

    def _write_anew(self, fd: int) -> None:
        """Write every byte over itself; the caller holds the lock.

        After a sync failed, the kernel takes for clean what never reached the disk, and the next sync would
        succeed and mean nothing (fsync(2), Linux since 4.13). Lines that nobody has synced yet may be among
        it: those of a writer that was killed. Written once more, they are the next sync's business again.
        """
        with contextlib.ExitStack() as stack:
            target = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, target)
            offset = 0
            while piece := os.pread(fd, _COPY_STEP, offset):
                offset += os.pwrite(target, piece, offset)

    def open(self) -> tuple[BinaryIO, int]:
        """The file, and the length of its whole lines: readers skip a torn last one."""
        stream = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        try:
            return stream, whole_lines_end(stream.fileno())
        except BaseException:
            stream.close()
            raise

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Keep every appender off while the file is looked at or swapped; gives its descriptor."""
        with atomic.locked_file(self.path) as fd:
            yield fd


def mend(fd: int) -> int:
    """Make the file end with a whole line; the caller holds its lock. Gives the new length.

    What follows the last newline was never acknowledged and is cut off, unless only the newline itself is
    missing, as after an edit by hand: then the line may be an old one and is completed. A last line with zero
    bytes is a torn one too: of two blocks that it lay in, a crash kept the second.
    """
    size = os.fstat(fd).st_size
    end = whole_lines_end(fd)
    if end == size:
        end = whole_lines_end(fd, size - 1) if size else 0
        if b"\0" not in os.pread(fd, size - end, end):
            return size
    tail = os.pread(fd, size - end, end)
    try:
        Episode.from_line(tail)
    except ValueError:
        log.warning(event("journal-torn-line-cut", offset=end, bytes=size - end, tail=tail[:80]))
        os.ftruncate(fd, end)
        return end
    log.warning(event("journal-newline-added", offset=end, bytes=size - end))
    try:
        atomic.write_all(fd, b"\n")
        os.fdatasync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise
    return size + 1


def whole_lines_end(fd: int, before: int | None = None) -> int:
    """The offset just behind the last newline of a file, or of its first `before` bytes. Reads backwards;
    leaves the position alone."""
    end = os.fstat(fd).st_size if before is None else before
    while end > 0:
        start = max(0, end - _TAIL_STEP)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0

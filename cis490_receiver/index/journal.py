"""index.jsonl: one line a stored episode, append-only.

Every append opens the file by its name and locks the inode that bears the name, so a file that was swapped
(by reindex, or by a log rotation gone astray) is noticed at once and forked workers exclude each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cis490_receiver.errors import StorageFailed, StorageFull
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import LINE_LIMIT, end_of_lines
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.index.generation import GENERATION_NAME, Generation
from cis490_receiver.index.group_commit import GroupCommit
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode

log = logging.getLogger(__name__)


class Journal:
    """The file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = Generation(path.with_name(GENERATION_NAME))
        self._group = GroupCommit(self._append)
        #: The file whose name was synced, and that was seen to have no holes: they come from a crash, which no process
        #: outlives.
        self._settled: int | None = None

    def prepare(self) -> None:
        """Make the file when it is absent, durably, and mend what a crash tore."""
        with atomic.locked_file(self.path) as fd:
            if os.fstat(fd).st_size == 0:
                atomic.sync_new_file(self.path)
            self._mend(fd)

    def append(self, episode: Episode) -> None:
        """See `EpisodeIndex.append`.

        A torn line at the end, which a crash left, is mended first. Lines that are appended at once share a
        write and its sync.
        """
        try:
            self._group.submit(episode.to_line())
        except OSError as exc:
            raise self._named(exc, "append") from exc

    def _append(self, lines: Sequence[bytes]) -> Sequence[None]:
        with atomic.locked_file(self.path) as fd:
            self._mend(fd)
            atomic.append_lines(fd, self.path, [b"".join(lines)], take_back=self._take_back)
        return [None] * len(lines)

    def _take_back(self, fd: int, end: int) -> None:
        """Cut off what was appended behind `end`. Whole lines of it may have been read by now."""
        if end_of_lines(fd) > end:
            with self.generation.cutting(fd):
                os.ftruncate(fd, end)
        else:
            os.ftruncate(fd, end)

    def check_writable(self) -> None:
        """See `EpisodeIndex.check_writable`. A journal that is absent is made by the next append."""
        usable = self.path.is_file() if self.path.exists() else self.path.parent.is_dir()
        if not usable or not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            log.error(event("storage-failed", doing="access", file=self.path.name, reason="not writable"))
            raise StorageFailed

    def make_durable(self) -> None:
        """See `EpisodeIndex.make_durable`."""
        try:
            with atomic.locked_file(self.path) as fd:
                self._mend(fd)
                atomic.sync_lines(fd, self.path)
        except OSError as exc:
            raise self._named(exc, "sync") from exc

    def _mend(self, fd: int) -> None:
        self.generation.ensure(fd)
        inode = os.fstat(fd).st_ino
        if inode != self._settled:
            # Whoever swapped the file may have been killed before its name was synced.
            atomic.sync_folder(self.path.parent)
            if atomic.has_holed_lines(fd):
                with self.generation.cutting(fd):
                    cut = atomic.cut_holed_lines(fd)
                log.warning(event("journal-torn-line-cut", bytes=len(cut), tail=cut[-80:]))
            self._settled = inode
        mend(fd)

    def _named(self, exc: OSError, doing: str) -> StorageFull | StorageFailed:
        kind = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
        log.error(event(kind.code, doing=doing, file=self.path.name, reason=exc.strerror))
        return kind()

    def open(self) -> OpenJournal:
        """The file as it is now. The caller closes its stream."""
        stream = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        try:
            # In this order: lines that are cut away between the two are then at worst missed in the old generation.
            generation = self.generation.of(stream.fileno())
            end = end_of_lines(stream.fileno())
            return OpenJournal(stream, end, generation, os.fstat(stream.fileno()).st_mtime_ns)
        except BaseException:
            stream.close()
            raise

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Keep every appender off while the file is looked at or swapped; gives its descriptor."""
        with atomic.locked_file(self.path) as fd:
            yield fd


def mend(fd: int) -> None:
    """Make the file end with a whole line; the caller holds its lock.

    What follows the last newline was never acknowledged and is cut off, unless only the newline itself is
    missing, as after an edit by hand: then the line may be an old one and is completed.
    """
    size = os.fstat(fd).st_size
    # The last byte tells nearly always, so the rest need not be read.
    if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
        return
    end = end_of_lines(fd)
    # No line is longer, so what is longer need not be read to be known as torn.
    tail = os.pread(fd, LINE_LIMIT + 1, end)
    if len(tail) > LINE_LIMIT or not _is_record(tail):
        log.warning(event("journal-torn-line-cut", offset=end, bytes=size - end, tail=tail[:80]))
        os.ftruncate(fd, end)
        return
    log.warning(event("journal-newline-added", offset=end, bytes=size - end))
    try:
        atomic.write_all(fd, b"\n")
        os.fdatasync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


def _is_record(line: bytes) -> bool:
    try:
        Episode.from_line(line)
    except ValueError:
        return False
    return True

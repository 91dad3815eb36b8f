"""index.jsonl made anew beside its writers.

The new journal is written beside the old one. Only the last step takes the journal's lock: what was appended meanwhile
is carried over, the new file is synced and renamed over the old one. A writer that waited for the lock finds that the
name went to another file and takes that (`atomic.locked_file`). Interrupted before the rename, nothing happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final

from cis490_receiver.clock import Clock
from cis490_receiver.errors import StorageFailed
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import end_of_lines, lines_between
from cis490_receiver.index.journal import Journal
from cis490_receiver.models import Episode, EpisodeKey, wall_time

SET_ASIDE_FILE: Final = "index-set-aside.jsonl"
_WORK_NAME: Final = "index.jsonl.reindex"
_PIECE: Final = 1 << 20


class JournalRenewal:
    """See `index.base.Renewal`."""

    def __init__(self, folder: Path, journal: Journal, clock: Clock) -> None:
        self._folder = folder
        self._journal = journal
        self._clock = clock
        self._work = folder / _WORK_NAME
        self._lock = folder / "reindex.lock"

    @contextlib.contextmanager
    def alone_or_not(self) -> Iterator[bool]:
        """See `Renewal.alone_or_not`."""
        with atomic.locked_file_or_none(self._lock) as lock:
            yield lock is not None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """See `Renewal.alone`."""
        with atomic.locked_file(self._lock):
            yield

    @contextlib.contextmanager
    def look(self) -> Iterator[OldJournal]:
        """See `Renewal.look`. An empty file stands for one that is absent."""
        try:
            journal = self._journal.open()
            stream, end = journal.stream, journal.end
        except FileNotFoundError:
            stream, end = open(os.devnull, "rb"), 0  # noqa: SIM115 - closed by the with below
        with stream:
            yield OldJournal(stream, end)

    @contextlib.contextmanager
    def draft(self) -> Iterator[JournalDraft]:
        """See `Renewal.draft`."""
        if not self._journal.path.exists():
            self._journal.prepare()
        with (
            # Locked until its name is sure to stay: nobody appends to it before.
            atomic.locked_file(self._work) as work_fd,
            open(work_fd, "r+b", closefd=False) as work,
            tempfile.TemporaryFile(dir=self._folder) as aside,
        ):
            work.truncate(0)
            try:
                with self.look() as old:
                    yield JournalDraft(self._folder, self._journal, self._clock, old, work, aside)
            finally:
                # After the swap the name is gone already.
                self._work.unlink(missing_ok=True)


class OldJournal:
    """See `index.base.OldIndex`."""

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self.stream = stream
        self.size_bytes = end
        self._seen = end

    def lines(self) -> Iterator[bytes]:
        """See `OldIndex.lines`."""
        return whole_lines(self.stream, 0, self.size_bytes)

    def appended(self) -> Iterator[bytes]:
        """See `OldIndex.appended`."""
        start, end = self._seen, end_of_lines(self.stream.fileno())
        self._seen = max(start, end)
        return whole_lines(self.stream, start, end)


class JournalDraft:
    """See `index.base.Draft`."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        clock: Clock,
        old: OldJournal,
        work: IO[bytes],
        aside: IO[bytes],
    ) -> None:
        self.old = old
        self._folder = folder
        self._journal = journal
        self._clock = clock
        self._file = work
        self._aside = aside
        self._work = folder / _WORK_NAME

    def keep(self, line: bytes) -> None:
        """See `Draft.keep`."""
        self._file.write(line)

    def set_aside(self, line: bytes, reason: str) -> None:
        """See `Draft.set_aside`."""
        self._aside.write(self._set_aside_line(line, reason))

    def put_in_force(self, overtaken_by: Callable[[Iterator[bytes]], set[EpisodeKey]]) -> None:
        """See `Draft.put_in_force`."""
        old, read_to, work, aside = self.old.stream, self.old.size_bytes, self._file, self._aside
        # First, so that no line is ever in neither file.
        set_aside = self._folder / SET_ASIDE_FILE
        with atomic.locked_file(set_aside) as fd:
            atomic.cut_torn_lines(fd)
            aside.seek(0)
            atomic.append_lines(fd, set_aside, iter(lambda: aside.read(_PIECE), b""))
        with self._journal.locked() as fd:
            if not os.path.samestat(os.fstat(fd), os.fstat(old.fileno())):
                raise StorageFailed("the index was swapped by somebody else meanwhile")
            end = end_of_lines(fd)
            overtaken = overtaken_by(whole_lines(old, read_to, end))
            if overtaken:
                self._take_out(overtaken, work, set_aside)
            for line in whole_lines(old, read_to, end):
                work.write(line)
            work.flush()
            self._name(work, fd)

    def _take_out(self, keys: set[EpisodeKey], work: IO[bytes], set_aside: Path) -> None:
        """Take the lines of `keys` out of the new journal and set them aside. Few, in a moment between two writers;
        so it may cost a copy."""
        with tempfile.TemporaryFile(dir=self._folder) as rest:
            work.seek(0)
            taken = []
            for line in work:
                if Episode.from_line(line).key in keys:
                    taken.append(self._set_aside_line(line, "overtaken"))
                else:
                    rest.write(line)
            with atomic.locked_file(set_aside) as fd:
                atomic.append_lines(fd, set_aside, taken)
            rest.seek(0)
            work.seek(0)
            work.truncate()
            shutil.copyfileobj(rest, work)

    def _name(self, work: IO[bytes], old: int) -> None:
        """Make the new journal the journal, durably. The caller holds the locks of both.

        When the name cannot be synced it is given anew, to a copy: whoever appends from here on syncs the file,
        and it must not be one that a crash leaves without a name.
        """
        self._sync_and_rename(work.fileno(), old)
        try:
            atomic.sync_folder(self._folder)
        except OSError:
            with atomic.locked_file(self._work) as copy:
                work.seek(0)
                while piece := work.read(_PIECE):
                    atomic.write_all(copy, piece)
                self._sync_and_rename(copy, work.fileno())
                atomic.sync_folder(self._folder)

    def _sync_and_rename(self, fd: int, old: int) -> None:
        os.fchmod(fd, atomic.FILE_MODE)
        self._journal.generation.before_swap(old, fd)
        os.fsync(fd)
        os.rename(self._work, self._journal.path)

    def _set_aside_line(self, line: bytes, reason: str) -> bytes:
        data = {
            "reason": reason,
            "set_aside_at_wall": wall_time(self._clock.now_ns()),
            "line": line.rstrip(b"\n").decode("utf-8", "backslashreplace"),
        }
        return json.dumps(data).encode("ascii") + b"\n"


def whole_lines(stream: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The lines between two offsets, with their newlines (see `files.lines.batches`)."""
    return (line + b"\n" for line in lines_between(stream.fileno(), start, end))

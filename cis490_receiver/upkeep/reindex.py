"""Make the journal agree with the episodes on disk, beside live writers.

The new journal is written beside the old one: first the good lines of the old, then a line for each episode
that has none. Only the last step takes the journal's lock: what was appended meanwhile is carried over, the
new file is synced and renamed over the old one. A writer that waited for the lock finds that the name went to
another file and takes that (`atomic.locked_file`). Interrupted before the rename, nothing happened.

A line that was appended meanwhile describes what its writer, who held the episode, had just stored: it is right,
and takes the place of whatever line the episode had or was given.

Which episodes have a line is kept in a scratch SQLite file, so memory does not grow with their number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, Final

from cis490_receiver.clock import Clock
from cis490_receiver.errors import EpisodeBusy, ReceiverError, StorageFailed
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import end_of_lines
from cis490_receiver.index.journal import Journal
from cis490_receiver.models import Episode, EpisodeKey, wall_time
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.upkeep.rebuild import rebuild_held
from cis490_receiver.upkeep.reindex_lines import Lines, Newest, count_lines, keys_of, whole_lines

SET_ASIDE_FILE: Final = "index-set-aside.jsonl"
_WORK_NAME: Final = "index.jsonl.reindex"
_HOLD_SECONDS: Final = 60.0
_BATCH: Final = 256
_PIECE: Final = 1 << 20


@dataclass(slots=True)
class Outcome:
    """What a run did, or would do."""

    kept: int = 0
    rebuilt: int = 0
    set_aside: int = 0
    #: Episodes whose stored length is not their line's: the line is kept, and is right.
    damaged: list[EpisodeKey] = field(default_factory=list)
    #: Episodes that could not be read: a line that they have is kept, and none is made.
    unreadable: list[EpisodeKey] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many lines differ from before."""
        return self.rebuilt + self.set_aside


class Reindexer:
    """One run. Two at once exclude each other."""

    def __init__(
        self,
        folder: Path,
        store: EpisodeStore,
        journal: Journal,
        clock: Clock,
        *,
        jobs: int | None = None,
        progress: Progress = SILENT,
    ) -> None:
        self._folder = folder
        self._store = store
        self._journal = journal
        self._clock = clock
        self._progress = progress
        self._jobs = jobs or os.cpu_count() or 1
        self._work = folder / _WORK_NAME
        self._lock = folder / "reindex.lock"

    def run(self) -> Outcome:
        """Do it.

        Raises:
            StorageFailed: another run is at it, or an episode cannot be read.
            OSError: the new journal cannot be written; the old one stands.
        """
        with atomic.locked_file_or_none(self._lock) as lock:
            if lock is None:
                raise StorageFailed("another reindex is running")
            return self.run_locked()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other run is at it, and keep others off."""
        with atomic.locked_file(self._lock):
            yield

    def look(self) -> Outcome:
        """What `run` would do. Writes nothing, so that it works where nothing can be written.

        Raises:
            ReceiverError, OSError: the index or an episode cannot be read.
        """
        with Lines.open() as lines, self._open_journal() as old, open(os.devnull, "r+b") as nowhere:
            return self._compare(lines, old, nowhere, nowhere, dry_run=True)

    def run_locked(self) -> Outcome:
        """`run`, for who is `alone`."""
        if not self._journal.path.exists():
            self._journal.prepare()
        with (
            Lines.open() as lines,
            # Locked until its name is sure to stay: nobody appends to it before.
            atomic.locked_file(self._work) as work_fd,
            open(work_fd, "r+b", closefd=False) as work,
            tempfile.TemporaryFile(dir=self._folder) as aside,
        ):
            work.truncate(0)
            try:
                with self._open_journal() as old:
                    outcome = self._compare(lines, old, work, aside, dry_run=False)
                    if outcome.changes:
                        self._swap(lines, work, aside, *old)
                return outcome
            finally:
                # After the swap the name is gone already.
                self._work.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _open_journal(self) -> Iterator[tuple[BinaryIO, int]]:
        """The journal and the length of its whole lines; an empty file stands for one that is absent."""
        try:
            journal = self._journal.open()
            stream, end = journal.stream, journal.end
        except FileNotFoundError:
            stream, end = open(os.devnull, "rb"), 0  # noqa: SIM115 - closed by the with below
        with stream:
            yield stream, end

    def _compare(
        self, lines: Lines, old: tuple[BinaryIO, int], work: IO[bytes], aside: IO[bytes], *, dry_run: bool
    ) -> Outcome:
        """Write the lines that stay to `work` and the others to `aside`, then a line for each episode without one."""
        outcome = Outcome()
        stream, end = old
        self._progress.begin("reading the index", end)
        count_lines(lines, self._told(whole_lines(stream, 0, end)))
        self._progress.begin("comparing it with the disk", end)
        self._keep_good_lines(lines, self._told(whole_lines(stream, 0, end)), work, aside, outcome)
        newest = Newest(stream, end)
        rebuild = partial(self._rebuild, newest=newest, outcome=outcome, dry_run=dry_run)
        for episode in self._rebuild_missing(lines, rebuild):
            work.write(episode.to_line())
            outcome.rebuilt += 1
        return outcome

    def _told(self, journal: Iterator[bytes]) -> Iterator[bytes]:
        for line in journal:
            yield line
            self._progress.advance(len(line))

    def _keep_good_lines(
        self, lines: Lines, journal: Iterator[bytes], work: IO[bytes], aside: IO[bytes], outcome: Outcome
    ) -> None:
        for line in journal:
            reason = self._judge(lines, line, outcome)
            if reason is None:
                work.write(line)
                outcome.kept += 1
            else:
                aside.write(self._set_aside_line(line, reason))
                outcome.set_aside += 1

    def _judge(self, lines: Lines, line: bytes, outcome: Outcome) -> str | None:
        """Why a line does not stay; None when it does."""
        try:
            episode = Episode.from_line(line)
        except ValueError:
            return "not-a-record"
        try:
            stored = self._store.open(episode.key)
        except ReceiverError:
            # It is there, and its line may well be right.
            outcome.unreadable.append(episode.key)
            return None if lines.keep(episode.key) else "duplicate"
        if stored is None:
            return "no-episode"
        with stored:
            same_size = stored.size_bytes == episode.size_bytes
            # Of several lines, the one that describes the bytes is right, wherever it stands.
            if lines.is_repeated(episode.key) and not _describes(episode, stored.stream):
                return "duplicate"
        if not lines.keep(episode.key):
            return "duplicate"
        if not same_size:
            outcome.damaged.append(episode.key)
        return None

    def _rebuild_missing(
        self, lines: Lines, rebuild: Callable[[EpisodeKey], Episode | None]
    ) -> Iterator[Episode]:
        """A line for each episode that has none, hashed on all cores, a batch in memory at a time."""
        with (
            tempfile.TemporaryFile("w+", encoding="ascii") as missing,
            ThreadPoolExecutor(self._jobs) as pool,
        ):
            self._progress.begin("hashing episodes", self._list_missing(lines, missing))
            missing.seek(0)
            keys = (EpisodeKey(*line.split()) for line in missing)
            while batch := list(islice(keys, _BATCH)):
                for episode in pool.map(rebuild, batch):
                    if episode is not None:
                        self._progress.advance(episode.size_bytes)
                        lines.keep(episode.key, rebuilt=True)
                        yield episode

    def _list_missing(self, lines: Lines, missing: IO[str]) -> int:
        """Write the keys of the episodes without a line to `missing`; gives how many bytes these have."""
        size_bytes = 0
        self._progress.begin("looking for episodes", unit="episodes")
        for key in self._store.all_keys():
            self._progress.advance()
            if lines.is_kept(key):
                continue
            missing.write(f"{key.host_id} {key.episode_id}\n")
            with contextlib.suppress(ReceiverError):
                stored = self._store.open(key)
                if stored is not None:
                    with stored:
                        size_bytes += stored.size_bytes
        return size_bytes

    def _rebuild(self, key: EpisodeKey, newest: Newest, outcome: Outcome, *, dry_run: bool) -> Episode | None:
        """The line of a published episode; None when it has one after all, is gone or cannot be read. Its writer,
        if it had one a moment ago, has appended its line by the time that it lets go of the episode."""
        try:
            with self._store.hold(key, wait_seconds=_HOLD_SECONDS) as held:
                if held is None or newest.has(key):
                    return None
                episode = rebuild_held(key, held)
                if not dry_run:
                    # Whoever published it may have failed to make its name durable: that is done over.
                    held.republish()
                return episode
        except EpisodeBusy:
            return None
        except ReceiverError:
            outcome.unreadable.append(key)
            return None

    def _swap(self, lines: Lines, work: IO[bytes], aside: IO[bytes], old: BinaryIO, read_to: int) -> None:
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
            overtaken = lines.overtaken(keys_of(whole_lines(old, read_to, end)), self._store)
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


def _describes(episode: Episode, stream: BinaryIO) -> bool:
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest() == episode.sha256

"""Make the index agree with the episodes that are stored, beside live writers.

A new index is drafted beside the old one: first the good lines of the old, then a line for each episode that has none.
Only the last step keeps writers off (`index.base.Draft.put_in_force`). Interrupted before that, nothing happened.

A line that was appended meanwhile describes what its writer, who held the episode, had just stored: it is right,
and takes the place of whatever line the episode had or was given.

Which episodes have a line is kept in a scratch SQLite file, so memory does not grow with their number.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import IO, BinaryIO, Final

from cis490_receiver.errors import EpisodeBusy, ReceiverError, StorageFailed
from cis490_receiver.index.base.renewal import Draft, OldIndex, Renewal
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.upkeep.rebuild import rebuild_held
from cis490_receiver.upkeep.reindex_lines import Lines, Newest, count_lines, keys_of

_HOLD_SECONDS: Final = 60.0
_BATCH: Final = 256
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.1


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
        renewal: Renewal,
        store: EpisodeStore,
        *,
        jobs: int | None = None,
        progress: Progress = SILENT,
    ) -> None:
        self._renewal = renewal
        self._store = store
        self._progress = progress
        self._jobs = jobs or os.cpu_count() or 1

    def run(self) -> Outcome:
        """Do it.

        Raises:
            StorageFailed: another run is at it, or an episode cannot be read.
            OSError: the new journal cannot be written; the old one stands.
        """
        for _ in range(_TRIES):
            with self._renewal.alone_or_not() as alone:
                if alone:
                    return self.run_locked()
            # An inspection keeps others off for the moment that noting something takes.
            time.sleep(_PAUSE_SECONDS)
        raise StorageFailed("another reindex is running")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other run is at it, and keep others off."""
        with self._renewal.alone():
            yield

    def look(self) -> Outcome:
        """What `run` would do. Writes nothing, so that it works where nothing can be written.

        Raises:
            ReceiverError, OSError: the index or an episode cannot be read.
        """
        with Lines.open() as lines, self._renewal.look() as old:
            return self._compare(lines, old, None)

    def run_locked(self) -> Outcome:
        """`run`, for who is `alone`."""
        with Lines.open() as lines, self._renewal.draft() as draft:
            outcome = self._compare(lines, draft.old, draft)
            if outcome.changes:
                # A line that was appended meanwhile takes the place of whatever line the episode had or was given.
                draft.put_in_force(lambda appended: lines.overtaken(keys_of(appended), self._store))
            return outcome

    def _compare(self, lines: Lines, old: OldIndex, draft: Draft | None) -> Outcome:
        """Put the lines that stay into `draft` and set the others aside, then a line for each episode without one;
        with no draft, merely count them."""
        outcome = Outcome()
        self._progress.begin("reading the index", old.size_bytes)
        count_lines(lines, self._told(old.lines()))
        self._progress.begin("comparing it with the disk", old.size_bytes)
        self._keep_good_lines(lines, self._told(old.lines()), draft, outcome)
        rebuild = partial(self._rebuild, newest=Newest(old), outcome=outcome, dry_run=draft is None)
        for episode in self._rebuild_missing(lines, rebuild):
            if draft is not None:
                draft.keep(episode.to_line())
            outcome.rebuilt += 1
        return outcome

    def _told(self, journal: Iterator[bytes]) -> Iterator[bytes]:
        for line in journal:
            yield line
            self._progress.advance(len(line))

    def _keep_good_lines(
        self, lines: Lines, journal: Iterator[bytes], draft: Draft | None, outcome: Outcome
    ) -> None:
        for line in journal:
            reason = self._judge(lines, line, outcome)
            if reason is None:
                outcome.kept += 1
            else:
                outcome.set_aside += 1
            if draft is None:
                continue
            if reason is None:
                draft.keep(line)
            else:
                draft.set_aside(line, reason)

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
            with contextlib.suppress(ReceiverError):
                stored = self._store.open(key)
                if stored is None:
                    # Its name is there, and its bytes are gone.
                    continue
                with stored:
                    size_bytes += stored.size_bytes
            missing.write(f"{key.host_id} {key.episode_id}\n")
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


def _describes(episode: Episode, stream: BinaryIO) -> bool:
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest() == episode.sha256

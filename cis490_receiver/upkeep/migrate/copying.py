"""The episodes and their lines, copied in the order of the index, again and again until nothing is left."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final

from cis490_receiver.errors import StorageFailed, StoreUnavailable
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import Incoming, OpenEpisode
from cis490_receiver.upkeep.migrate.base import Destination, Kept

log = logging.getLogger(__name__)

#: How much of the index is taken at a time, in bytes: some hundred lines.
_STEP: Final = 128 << 10
#: No line may be longer, in bytes.
_LONGEST: Final = 64 << 20
_COMPARED_STEP: Final = 4 << 20
#: More episodes than these are not left behind.
MOST_LEFT: Final = 10_000
_SIZE: Final = re.compile(rb'"size_bytes":([0-9]{1,19})')


class _CannotRead(Exception):
    """The bytes of an episode cannot be read where they are."""


class _Stopped(Exception):
    """Somebody stopped it."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of an episode: why it cannot be copied, and whether it was."""

    why: str | None = None
    copied: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """The lines of both places, which are the same: how many bytes and lines, and their digest (64 hex digits)."""

    size_bytes: int
    lines: int
    sha256: str


class Copying:
    """Copies from `origin` to `destination`. One thread uses it.

    Attributes:
        episodes, size_bytes: how many episodes were copied, and how many bytes they have.
    """

    def __init__(
        self, origin: Kept, destination: Destination, *, jobs: int, progress: Progress = SILENT
    ) -> None:
        """`jobs`: how many episodes are on their way at once."""
        self._origin = origin
        self._destination = destination
        self._jobs = jobs
        self._progress = progress
        self._generation: str | None = None
        self._offset = 0
        self._lines = 0
        self._ours, self._theirs = hashlib.sha256(), hashlib.sha256()
        self._left = {EpisodeKey(*name): why for *name, why in destination.left.read() or ()}
        self._stop = threading.Event()
        #: How many bytes the episodes have whose lines were passed.
        self._passed_bytes = 0
        self.episodes = 0
        self.size_bytes = 0

    @property
    def left(self) -> Mapping[EpisodeKey, str]:
        """The episodes of the index whose bytes could not be copied, and why not."""
        return self._left

    @property
    def compared(self) -> Compared:
        """What both places have. Every line was read back."""
        assert self._ours.digest() == self._theirs.digest()
        return Compared(self._offset, self._lines, self._ours.hexdigest())

    @property
    def generation(self) -> str:
        """The index's, of the lines that were copied."""
        assert self._generation is not None
        return self._generation

    def catch_up(self) -> int:
        """Copy what has come by now; gives how long its lines are, in bytes.

        Raises:
            ReceiverError, OSError: something cannot be read or written. What was copied is there.
        """
        journal = self._origin.index.open_journal()
        with journal.stream, self._copiers() as pool:
            if journal.generation != self._generation:
                self._begin(journal)
            before = self._offset
            if before < journal.end:
                self._progress.begin("copying episodes", self._bytes_to_come())
            while self._offset < journal.end:
                text = _some_lines(journal, self._offset)
                self._copy_episodes(pool, text)
                self._destination.add_lines(self.generation, self._offset, text)
                self._compare(text)
            return self._offset - before

    @contextlib.contextmanager
    def _copiers(self) -> Iterator[ThreadPoolExecutor]:
        pool = ThreadPoolExecutor(self._jobs, "copy")
        try:
            yield pool
        except BaseException:
            self._stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def try_those_left(self) -> None:
        """Try again what could not be copied.

        Raises:
            ReceiverError, OSError: something else fails.
        """
        for key in list(self._left):
            episode = self._origin.index.find(key)
            outcome = _Outcome() if episode is None else self._copy(episode, episode.to_line())
            self._say_left({key: outcome.why})

    def _begin(self, journal: OpenJournal) -> None:
        """Go on where the destination's lines of this generation end, when they are seen to be the same."""
        reached = self._destination.reached(journal.generation)
        if reached > journal.end:
            raise StorageFailed(f"{self._destination.name} has more lines of the index than there are here")
        self._generation, self._offset, self._lines = journal.generation, 0, 0
        self._ours, self._theirs = hashlib.sha256(), hashlib.sha256()
        self._passed_bytes = 0
        self._progress.begin("comparing the index", reached)
        while self._offset < reached:
            end = min(reached, self._offset + _COMPARED_STEP)
            journal.stream.seek(self._offset)
            text = journal.stream.read(end - self._offset)
            # Up to where a line ends.
            text = text[: text.rfind(b"\n") + 1] or _some_lines(journal, self._offset)
            self._compare(text)
            self._progress.advance(len(text))
            self._passed_bytes += sum(map(int, _SIZE.findall(text)))

    def _compare(self, text: bytes) -> None:
        """Read back what has to be `text`, which comes next."""
        end = self._offset + len(text)
        theirs = b"".join(self._destination.lines(self.generation, self._offset, end))
        if theirs != text:
            raise StorageFailed(
                f"{self._destination.name} has other lines of the index behind its byte {self._offset} than there are "
                "here, and nothing that this command wrote is so; begin with an empty destination"
            )
        self._ours.update(text)
        self._theirs.update(theirs)
        self._lines += text.count(b"\n")
        self._offset = end

    def _bytes_to_come(self) -> int:
        """About how many bytes the episodes have that were not copied yet."""
        return max(0, self._origin.index.size_bytes(Filters(withdrawn="include")) - self._passed_bytes)

    def _copy_episodes(self, pool: ThreadPoolExecutor, text: bytes) -> None:
        lines = {}
        for line in text.splitlines(keepends=True):
            try:
                lines[Episode.from_line(line)] = line
            except ValueError:
                # Not a record, and copied as it is.
                continue
        last = {episode.key: episode for episode in lines}
        known = self._destination.known(list(last.values()))
        passed_bytes = sum(episode.size_bytes for episode in known)
        self._progress.advance(passed_bytes)
        self._passed_bytes += passed_bytes
        chosen = [episode for episode in last.values() if episode not in known]
        outcomes = list(pool.map(self._copy, chosen, [lines[episode] for episode in chosen]))
        for episode, outcome in zip(chosen, outcomes, strict=True):
            self._passed_bytes += episode.size_bytes
            if outcome.copied:
                self.episodes += 1
                self.size_bytes += episode.size_bytes
        reasons = {episode.key: outcome.why for episode, outcome in zip(chosen, outcomes, strict=True)}
        self._say_left(reasons | dict.fromkeys(episode.key for episode in known))

    def _say_left(self, reasons: Mapping[EpisodeKey, str | None]) -> None:
        changed = dict(self._left)
        for key, why in reasons.items():
            changed.pop(key, None)
            if why is not None:
                changed[key] = why
        if changed == self._left:
            return
        if len(changed) > MOST_LEFT:
            raise StorageFailed(
                f"more than {MOST_LEFT} episodes cannot be copied; run: cis490-receiver verify"
            )
        self._destination.left.write([[key.host_id, key.episode_id, why] for key, why in changed.items()])
        self._left = changed

    def _copy(self, episode: Episode, line: bytes) -> _Outcome:
        outcome = self._tried(episode, line)
        self._progress.advance(episode.size_bytes)
        if outcome.why is None or self._is_overtaken(episode):
            return _Outcome(copied=outcome.copied)
        log.warning(event("left-behind", host=episode.host_id, id=episode.episode_id, why=outcome.why))
        return outcome

    def _tried(self, episode: Episode, line: bytes) -> _Outcome:
        destination, key = self._destination.kept.store, episode.key
        if self._destination.has(episode):
            return _Outcome()
        if destination.exists(key):
            if self._is_overtaken(episode):
                return _Outcome()
            # Of an earlier line, or spoilt: it is kept, and must not stand in the way.
            destination.quarantine(key, lambda held: True)
        found = self._origin.store.open(key)
        if found is None:
            return _Outcome("its bytes are gone")
        try:
            with found:
                return self._send(episode, line, found)
        except _CannotRead as exc:
            return _Outcome(f"its bytes cannot be read: {exc}")

    def _send(self, episode: Episode, line: bytes, found: OpenEpisode) -> _Outcome:
        stamps = Stamps(**{name: getattr(episode, name) for name in Stamps.__dataclass_fields__})
        with self._destination.kept.store.receive(episode.key, stamps) as incoming:
            self._pump(found.stream, incoming)
            if (incoming.size_bytes, incoming.hexdigest()) != (episode.size_bytes, episode.sha256):
                return _Outcome("its bytes are not what was acknowledged")
            incoming.sync()
            placed = incoming.publish()
            if placed is None or not self._destination.keep(episode, line, placed):
                raise StorageFailed(f"{self._destination.name} has another episode {episode.key}")
            incoming.settle()
        return _Outcome(copied=True)

    def _pump(self, stream: BinaryIO, incoming: Incoming) -> None:
        while not self._stop.is_set():
            buffer = incoming.lend()
            try:
                count = stream.readinto(buffer)  # type: ignore[attr-defined]
            except StoreUnavailable:
                # It may be back for the next run.
                raise
            except (OSError, StorageFailed) as exc:
                raise _CannotRead(exc.strerror if isinstance(exc, OSError) else exc.reason) from exc
            if not count:
                return
            incoming.commit(count)
        raise _Stopped

    def _is_overtaken(self, episode: Episode) -> bool:
        return self._origin.index.find(episode.key) != episode


def _some_lines(journal: OpenJournal, start: int) -> bytes:
    """Whole lines from the offset `start` on, one at least."""
    size = _STEP
    while size <= _LONGEST:
        journal.stream.seek(start)
        text = journal.stream.read(min(size, journal.end - start))
        end = text.rfind(b"\n") + 1
        if end:
            return text[:end]
        size *= 2
    raise StorageFailed(
        f"the index has a line of more than {_LONGEST >> 20} MiB at its byte {start}; run: cis490-receiver reindex"
    )

"""The trainer's end: a folder that follows a receiver.

``DIR/remote.jsonl`` is what was read of the receiver's index, followed by byte offset, and ``DIR/listed.jsonl`` what
was read of its listing, where filters choose some of the episodes. ``DIR/episodes/`` has the episodes, each under its
final name only when its SHA-256 was seen to be right; ``DIR/index.jsonl`` has exactly the lines of the episodes that
are there; ``DIR/withdrawn/`` has what the receiver withdrew since. Killed at any moment, the next run goes on: what is
whole stays, a partial file is continued by a range request that holds only for the same bytes (RFC 9110 §13.1.5).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.filters import Filters
from cis490_receiver.http_client.failures import TransportFailed
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.trainer import withdrawn
from cis490_receiver.trainer.fetch import PARTIAL_FOLDER, Fetcher
from cis490_receiver.trainer.follower import Follower
from cis490_receiver.trainer.layout import hash_file, path_in
from cis490_receiver.trainer.listing import Listing, NotListed
from cis490_receiver.trainer.records import Records, lines_of
from cis490_receiver.trainer.remote import MirrorFailed, Remote
from cis490_receiver.trainer.state import State

INDEX_FILE: Final = "index.jsonl"


@dataclass(slots=True)
class Result:
    """What a run did."""

    fetched: int = 0
    fetched_bytes: int = 0
    present: int = 0
    #: Episodes that were here and went to ``withdrawn/``, because the receiver withdrew them.
    withdrawn: int = 0
    #: Episodes that could not be had, and why.
    failed: dict[str, str] = field(default_factory=dict)


class Mirror:
    """One folder that follows one receiver. Two runs into one folder exclude each other."""

    def __init__(
        self,
        remote: Remote,
        folder: Path,
        filters: Filters,
        *,
        jobs: int = 4,
        progress: Progress = SILENT,
    ) -> None:
        self._progress = progress
        self._remote = remote
        self._folder = folder
        self._filters = filters
        self._jobs = jobs
        self._state = State(folder)
        #: What the receiver has withdrawn, as of this run.
        self._withdrawn: frozenset[EpisodeKey] = frozenset()

    def run(self, *, check: bool = False) -> Result:
        """Fetch what is missing. With `check` every episode that is there is hashed again.

        Raises:
            MirrorFailed: the receiver cannot be followed.
        """
        if (self._folder / "incoming").exists():
            raise MirrorFailed(f"{self._folder} is a receiver's own data folder; name another")
        atomic.make_folder(self._folder / PARTIAL_FOLDER)
        with atomic.locked_file_or_none(self._folder / "mirror.lock") as lock:
            if lock is None:
                raise MirrorFailed(f"another mirror is writing to {self._folder}")
            with _told("cannot read the receiver's index"):
                records, mark = self._update()
                self._withdrawn = withdrawn.ask(self._remote)
            state = self._state.read()
            description = f"{self._filters!r} of {mark} but {withdrawn.fingerprint(self._withdrawn)}"
            if not check and state.get("complete") == description:
                return Result(present=int(state.get("present", 0)))
            moved = 0
            if self._filters.withdrawn == "exclude":
                moved = withdrawn.set_aside(self._folder, self._withdrawn)
            with _told("cannot read the receiver's episodes"):
                wanted = self._wanted(records)
                result = self._fetch_missing(wanted, check)
            result.withdrawn = moved
            self._write_index(records, wanted, result)
            complete = None if result.failed else description
            self._state.write(complete=complete, present=result.present)
            return result

    def _update(self) -> tuple[Records, str]:
        """The receiver's records, brought up to date, and their mark: those that the filters choose, where they choose
        any, or the whole index."""
        if self._filters.but(withdrawn=None) != Filters():
            with contextlib.suppress(NotListed):
                listing = Listing(self._remote, self._folder, self._filters, self._state, self._progress)
                return listing, listing.update()
        follower = Follower(self._remote, self._folder, self._state, self._progress)
        return follower, follower.update()

    def _wanted(self, records: Records) -> dict[EpisodeKey, Episode]:
        """The last record of each episode that passes the filters, in the index's order."""
        wanted: dict[EpisodeKey, Episode] = {}
        for episode, _ in records.lines():
            if self._filters.passes(episode) and self._is_meant(episode.key):
                wanted[episode.key] = episode
        return wanted

    def _is_meant(self, key: EpisodeKey) -> bool:
        """Whether what the filters say of withdrawn episodes lets `key` pass."""
        meant = self._filters.withdrawn
        return meant == "include" or (key in self._withdrawn) == (meant == "only")

    def _fetch_missing(self, wanted: dict[EpisodeKey, Episode], check: bool) -> Result:
        result = Result()
        missing = self._list_missing(wanted, check)
        self._progress.begin("fetching", sum(episode.size_bytes for episode in missing))
        fetcher = Fetcher(self._remote, self._folder, self._progress)
        with ThreadPoolExecutor(self._jobs) as pool:
            under_way = {pool.submit(fetcher.fetch, episode): episode for episode in missing}
            try:
                for done in as_completed(under_way):
                    episode = under_way[done]
                    failure = done.result()
                    if failure is None:
                        result.fetched += 1
                        result.fetched_bytes += episode.size_bytes
                    else:
                        result.failed[str(episode.key)] = failure
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        result.present = len(wanted) - len(result.failed)
        return result

    def _list_missing(self, wanted: dict[EpisodeKey, Episode], check: bool) -> list[Episode]:
        """Those of `wanted` that are not here, or with `check`, whose bytes are not what they should be."""
        known = {} if check else {e.key: e.sha256 for e, _ in lines_of(self._folder / INDEX_FILE)}
        self._progress.begin("looking at what is here", len(wanted), "episodes")
        missing = []
        for key, episode in wanted.items():
            if not self._is_here(episode, known.get(key)):
                missing.append(episode)
            self._progress.advance()
        return missing

    def _is_here(self, episode: Episode, known_sha256: str | None) -> bool:
        path = path_in(self._folder, episode.key)
        try:
            if path.stat().st_size != episode.size_bytes:
                return False
        except OSError:
            return False
        return known_sha256 == episode.sha256 or hash_file(path)[0].hexdigest() == episode.sha256

    def _write_index(self, records: Records, wanted: dict[EpisodeKey, Episode], result: Result) -> None:
        """The lines, byte for byte, of the episodes that are here."""
        fresh = self._folder / f"{INDEX_FILE}.new"
        with open(fresh, "wb") as target:
            for episode, line in records.lines():
                if wanted.get(episode.key) == episode and str(episode.key) not in result.failed:
                    target.write(line)
            target.flush()
            os.fsync(target.fileno())
        os.rename(fresh, self._folder / INDEX_FILE)
        atomic.sync_folder(self._folder)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Let a failure on the way to the receiver be one sentence that ends with what to do."""
    try:
        yield
    except TransportFailed as exc:
        raise MirrorFailed(f"{what}: {exc.message}; {exc.remedy}") from exc

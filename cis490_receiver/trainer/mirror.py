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
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.filters import Filters
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.trainer import withdrawn
from cis490_receiver.trainer.follower import Follower
from cis490_receiver.trainer.layout import path_in
from cis490_receiver.trainer.listing import Listing, NotListed
from cis490_receiver.trainer.records import Records, lines_of
from cis490_receiver.trainer.remote import Remote
from cis490_receiver.trainer.state import State
from cis490_receiver.trainer.supply import Result, Supply, alone_in, told

INDEX_FILE: Final = "index.jsonl"


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
        with alone_in(self._folder):
            with told("cannot read the receiver's index"):
                records, mark = self._update()
                self._withdrawn = withdrawn.ask(self._remote)
            state = self._state.read()
            description = f"{self._filters!r} of {mark} but {withdrawn.fingerprint(self._withdrawn)}"
            if not check and state.get("complete") == description:
                return Result(present=int(state.get("present", 0)))
            moved = 0
            if self._filters.withdrawn == "exclude":
                moved = withdrawn.set_aside(self._folder, self._withdrawn)
            with told("cannot read the receiver's episodes"):
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
        known = {} if check else {e.key: e.sha256 for e, _ in lines_of(self._folder / INDEX_FILE)}
        supply = Supply(self._remote, self._folder, jobs=self._jobs, progress=self._progress)
        return supply.complete(wanted.values(), known, path_in)

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

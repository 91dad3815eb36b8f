"""The trainer's end: a folder that follows a receiver.

``DIR/remote.jsonl`` is what was read of the receiver's index, followed by byte offset; ``DIR/episodes/`` has the
episodes, each under its final name only when its SHA-256 was seen to be right; ``DIR/index.jsonl`` has exactly the
lines of the episodes that are there; ``DIR/withdrawn/`` has what the receiver withdrew since. Killed at any moment, the
next run goes on: what is whole stays, a partial file is continued by a range request that holds only for the same bytes
(RFC 9110 §13.1.5).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.files import atomic
from cis490_receiver.filters import Filters
from cis490_receiver.http_client.decoding import Decoded
from cis490_receiver.http_client.failures import TransportFailed
from cis490_receiver.http_client.reader import Body
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.trainer import withdrawn
from cis490_receiver.trainer.fetch import PARTIAL_FOLDER, STEP_BYTES, Fetcher, hash_file, path_in
from cis490_receiver.trainer.remote import MirrorFailed, Remote

STATE_FILE: Final = "mirror.json"
REMOTE_FILE: Final = "remote.jsonl"
INDEX_FILE: Final = "index.jsonl"
#: How many bytes before the offset are read again, to see that the index is still the one that was followed.
_OVERLAP: Final = 4096


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
                changed = self._follow()
                self._withdrawn = withdrawn.ask(self._remote)
            state = self._read_state()
            description = f"{self._filters!r} but {withdrawn.fingerprint(self._withdrawn)}"
            if not changed and not check and state.get("complete") == description:
                return Result(present=int(state.get("present", 0)))
            moved = 0
            if self._filters.withdrawn == "exclude":
                moved = withdrawn.set_aside(self._folder, self._withdrawn)
            with _told("cannot read the receiver's episodes"):
                result = self._fetch_missing(check)
            result.withdrawn = moved
            self._write_index(result)
            complete = None if result.failed else description
            self._write_state({"complete": complete, "present": result.present})
            return result

    def _follow(self) -> bool:
        """Bring remote.jsonl up to date; gives whether there was anything new."""
        path = self._folder / REMOTE_FILE
        have = path.stat().st_size if path.exists() else 0
        start = max(0, have - _OVERLAP)
        response: Body | Decoded
        if have:
            response = self._remote.get("/v1/index.jsonl", {"Range": f"bytes={start}-"})
        else:
            response = self._remote.get_whole("/v1/index.jsonl")
        generation = response.headers.get("X-Index-Generation", "")
        if have and response.status == 206 and generation == self._read_state().get("generation"):
            with open(path, "rb") as stream:
                stream.seek(start)
                known = stream.read()
            if _read_fully(response, len(known)) == known:
                return self._append(path, response) > 0
        if have:
            # The index was swapped, cut or edited: from its start, then.
            response = self._remote.get_whole("/v1/index.jsonl")
        if response.status != 200:
            raise MirrorFailed(f"there is no receiver's index at this address (status {response.status})")
        generation = response.headers.get("X-Index-Generation", "")
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        self._append(fresh, response)
        self._write_state({"generation": generation, "complete": None})
        os.rename(fresh, path)
        atomic.sync_folder(self._folder)
        return True

    def _append(self, path: Path, response: Body | Decoded) -> int:
        count = 0
        self._progress.begin("reading the receiver's index", response.length)
        with open(path, "ab") as stream:
            while piece := response.read(STEP_BYTES):
                stream.write(piece)
                count += len(piece)
                self._progress.advance(len(piece))
            stream.flush()
            os.fsync(stream.fileno())
        return count

    def _wanted(self) -> dict[EpisodeKey, Episode]:
        """The last line of each episode that passes the filters, in the index's order."""
        wanted: dict[EpisodeKey, Episode] = {}
        for episode in _episodes(self._folder / REMOTE_FILE):
            if self._filters.passes(episode) and self._is_meant(episode.key):
                wanted[episode.key] = episode
        return wanted

    def _is_meant(self, key: EpisodeKey) -> bool:
        """Whether what the filters say of withdrawn episodes lets `key` pass."""
        meant = self._filters.withdrawn
        return meant == "include" or (key in self._withdrawn) == (meant == "only")

    def _fetch_missing(self, check: bool) -> Result:
        result = Result()
        wanted = self._wanted()
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
        known = {} if check else {e.key: e.sha256 for e in _episodes(self._folder / INDEX_FILE)}
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

    def _write_index(self, result: Result) -> None:
        """The lines, byte for byte, of the episodes that are here."""
        fresh = self._folder / f"{INDEX_FILE}.new"
        wanted = self._wanted()
        with open(fresh, "wb") as target, open(self._folder / REMOTE_FILE, "rb") as source:
            for line in source:
                episode = _parse(line)
                if episode is None or str(episode.key) in result.failed:
                    continue
                if wanted.get(episode.key) == episode:
                    target.write(line)
            target.flush()
            os.fsync(target.fileno())
        os.rename(fresh, self._folder / INDEX_FILE)
        atomic.sync_folder(self._folder)

    def _read_state(self) -> dict[str, Any]:
        try:
            state = i_json.loads((self._folder / STATE_FILE).read_bytes())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self, changes: dict[str, Any]) -> None:
        state = self._read_state() | changes
        atomic.replace_file(self._folder / STATE_FILE, json.dumps(state).encode("ascii"))


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Let a failure on the way to the receiver be one sentence that ends with what to do."""
    try:
        yield
    except TransportFailed as exc:
        raise MirrorFailed(f"{what}: {exc.message}; {exc.remedy}") from exc


def _read_fully(response: Body | Decoded, size: int) -> bytes:
    found = bytearray()
    while piece := response.read(size - len(found)):
        found += piece
    return bytes(found)


def _parse(line: bytes) -> Episode | None:
    # What is no record, or is torn, names nothing that could be fetched. Ids are checked by the record itself.
    with contextlib.suppress(ValueError):
        return Episode.from_line(line) if line.endswith(b"\n") else None
    return None


def _episodes(path: Path) -> Iterator[Episode]:
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed by the with below
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            episode = _parse(line)
            if episode is not None:
                yield episode

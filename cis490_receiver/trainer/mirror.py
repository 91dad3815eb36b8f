"""The trainer's end: a folder that follows a receiver.

``DIR/remote.jsonl`` is what was read of the receiver's index, followed by byte offset; ``DIR/episodes/`` has the
episodes, each under its final name only when its SHA-256 was seen to be right; ``DIR/index.jsonl`` has exactly the
lines of the episodes that are there. Killed at any moment, the next run goes on: what is whole stays, a partial file is
continued by a range request that holds only for the same bytes (RFC 9110 §13.1.5).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.files import atomic
from cis490_receiver.filters import Filters
from cis490_receiver.http_client.backoff import Backoff
from cis490_receiver.http_client.failures import ReceiverFailed, TransportFailed
from cis490_receiver.http_client.reader import Body
from cis490_receiver.http_client.reply import TRANSIENT, retry_after_seconds
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import SILENT, Progress
from cis490_receiver.trainer.remote import WORDING, MirrorFailed, Remote

STATE_FILE: Final = "mirror.json"
REMOTE_FILE: Final = "remote.jsonl"
INDEX_FILE: Final = "index.jsonl"
#: How many bytes before the offset are read again, to see that the index is still the one that was followed.
_OVERLAP: Final = 4096
_STEP: Final = 1 << 20
_ATTEMPTS: Final = 4
#: The longest wait between two of them.
_WAIT_SECONDS: Final = 30.0
#: Why an episode was not had whose file the receiver lost.
NOT_THERE: Final = "in the receiver's index, and not on its disk (status 404)"


class _Refused(Exception):
    """The receiver does not give an episode; asking again changes nothing."""


@dataclass(slots=True)
class Result:
    """What a run did."""

    fetched: int = 0
    fetched_bytes: int = 0
    present: int = 0
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
        self._partial = folder / "partial"

    def run(self, *, check: bool = False) -> Result:
        """Fetch what is missing. With `check` every episode that is there is hashed again.

        Raises:
            MirrorFailed: the receiver cannot be followed.
        """
        if (self._folder / "incoming").exists():
            raise MirrorFailed(f"{self._folder} is a receiver's own data folder; name another")
        atomic.make_folder(self._partial)
        with atomic.locked_file_or_none(self._folder / "mirror.lock") as lock:
            if lock is None:
                raise MirrorFailed(f"another mirror is writing to {self._folder}")
            with _told("cannot read the receiver's index"):
                changed = self._follow()
            state = self._read_state()
            description = repr(self._filters)
            if not changed and not check and state.get("complete") == description:
                return Result(present=int(state.get("present", 0)))
            with _told("cannot read the receiver's episodes"):
                result = self._fetch_missing(check)
            self._write_index(result)
            complete = None if result.failed else description
            self._write_state({"complete": complete, "present": result.present})
            return result

    def _follow(self) -> bool:
        """Bring remote.jsonl up to date; gives whether there was anything new."""
        path = self._folder / REMOTE_FILE
        have = path.stat().st_size if path.exists() else 0
        start = max(0, have - _OVERLAP)
        response = self._remote.get("/v1/index.jsonl", {"Range": f"bytes={start}-"} if have else {})
        generation = response.headers.get("X-Index-Generation", "")
        if have and response.status == 206 and generation == self._read_state().get("generation"):
            with open(path, "rb") as stream:
                stream.seek(start)
                known = stream.read()
            if _read_fully(response, len(known)) == known:
                return self._append(path, response) > 0
        if have:
            # The index was swapped, cut or edited: from its start, then.
            response = self._remote.get("/v1/index.jsonl", {})
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

    def _append(self, path: Path, response: Body) -> int:
        count = 0
        self._progress.begin("reading the receiver's index", response.length)
        with open(path, "ab") as stream:
            while piece := response.read(_STEP):
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
            if self._filters.passes(episode):
                wanted[episode.key] = episode
        return wanted

    def _fetch_missing(self, check: bool) -> Result:
        result = Result()
        wanted = self._wanted()
        missing = self._list_missing(wanted, check)
        self._progress.begin("fetching", sum(episode.size_bytes for episode in missing))
        with ThreadPoolExecutor(self._jobs) as pool:
            under_way = {pool.submit(self._fetch, episode): episode for episode in missing}
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
        path = self._path(episode.key)
        try:
            if path.stat().st_size != episode.size_bytes:
                return False
        except OSError:
            return False
        return known_sha256 == episode.sha256 or _hash_file(path)[0].hexdigest() == episode.sha256

    def _fetch(self, episode: Episode) -> str | None:
        """Fetch one episode; gives why it could not be had, or None. What the receiver does not have, or does not
        give, it is asked for once."""
        backoff = Backoff(first_seconds=0.4, max_seconds=_WAIT_SECONDS)
        reason = ""
        for attempt in range(_ATTEMPTS):
            wait = None
            try:
                reason = self._fetch_once(episode)
            except _Refused as exc:
                return self._given_up(episode, str(exc))
            except TransportFailed as exc:
                if not exc.may_pass:
                    raise
                reason, wait = exc.message, exc.retry_after_seconds
            except OSError as exc:
                # Asking the receiver again changes nothing here.
                hint = (
                    f": make room in {self._folder} and run it again" if exc.errno in atomic.NO_SPACE else ""
                )
                return self._given_up(episode, f"{exc.strerror or exc}{hint}")
            if not reason:
                return None
            if attempt < _ATTEMPTS - 1:
                time.sleep(min(backoff.next_seconds(wait), _WAIT_SECONDS))
        return self._given_up(episode, reason)

    def _given_up(self, episode: Episode, reason: str) -> str:
        self._progress.skip(episode.size_bytes)
        return reason

    def _fetch_once(self, episode: Episode) -> str:
        name = hashlib.sha256(f"{episode.key} {episode.sha256}".encode("ascii")).hexdigest()
        partial = self._partial / name
        digest, have = _hash_file(partial) if partial.exists() else (hashlib.sha256(), 0)
        if have < episode.size_bytes or episode.size_bytes == 0:
            path = protocol.episode_path(episode.host_id, episode.episode_id)
            response = self._remote.go_on(path, have, episode.sha256)
            _check_given(response)
            if response.begins_at < have:
                digest, have = hashlib.sha256(), 0
            with open(partial, "r+b" if have else "wb") as stream:
                stream.seek(have)
                # One byte more than there should be is enough to know.
                while piece := response.read(min(_STEP, episode.size_bytes + 1 - stream.tell())):
                    stream.write(piece)
                    digest.update(piece)
                    self._progress.advance(len(piece))
        if partial.stat().st_size < episode.size_bytes:
            return "the connection ended early"
        if digest.hexdigest() != episode.sha256:
            partial.unlink()
            return "its bytes do not match the index"
        self._publish(partial, episode.key)
        return ""

    def _publish(self, partial: Path, key: EpisodeKey) -> None:
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        path = self._path(key)
        atomic.make_folder(path.parent)
        os.rename(partial, path)
        atomic.sync_folder(path.parent)

    def _path(self, key: EpisodeKey) -> Path:
        return self._folder / "episodes" / key.host_id / key.file_name

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


def _check_given(response: Body) -> None:
    """Raises:
    _Refused: the receiver does not give the episode.
    ReceiverFailed: not now.
    """
    if response.status in (200, 206):
        return
    if response.status == 404:
        raise _Refused(NOT_THERE)
    if response.status not in TRANSIENT:
        raise _Refused(f"status {response.status}")
    raise ReceiverFailed(
        f"status {response.status}",
        WORDING.later,
        retry_after_seconds=retry_after_seconds(response.headers),
    )


def _read_fully(response: Body, size: int) -> bytes:
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


def _hash_file(path: Path) -> tuple[Any, int]:
    """The running SHA-256 of a file, and its length."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while piece := stream.read(_STEP):
            digest.update(piece)
            size += len(piece)
    return digest, size

"""Whether the promise about episodes holds in a state that a crash left."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cis490_receiver.backends import open_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import Conflict
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.ingest import receive_episode, recover
from cis490_receiver.models import Episode
from cis490_receiver.policy.inspection import TakeAll
from cis490_receiver.stamps import DECLARED, Stamps
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.upkeep.rebuild import rebuild_from_trace
from tests.faults.support import driver
from tests.faults.support.course import Scenario, Step, put
from tests.faults.support.inspecting import Broken, Inspector, content_of
from tests.faults.support.model import State
from tests.faults.support.recording import Promise, Recording
from tests.support.archives import Archive

#: Same length of line as any put of the scenarios: what a catalog that looks at lengths alone would mix up.
BYSTANDER = put("host-z", "ep-5", seed=5)


class EpisodeInspector(Inspector):
    """Episodes: acknowledged ones are whole and indexed, and a retry of any is taken."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        self._puts = what.puts
        self._before = [
            Promise(step["host"], step["episode"], driver.archive_of(step).sha256)
            for step in what.before
            if step["do"] == "put"
        ]
        self._bodies: dict[str, tuple[Step, bytes]] = {}
        self._archives: dict[str, Archive] = {}
        for step in [*self._puts, BYSTANDER]:
            archive = driver.archive_of(step)
            self._archives[json.dumps(step)] = archive
            self._bodies[archive.sha256] = (step, archive.data)
        #: What was at rest, and what was promised, in the states that were used already.
        self._used: set[tuple[bytes, frozenset[Promise]]] = set()

    def _inspect(self, state: State, data: Path) -> None:
        """Also after recovery, and after the client's retry."""
        self._settle(data)
        promised = {item for item in state.promises if isinstance(item, Promise)} | set(self._before)
        self._check(data, promised)
        # Recovery leaves the same of most torn lines: a process that starts on it does the same again.
        at_rest = (content_of(data), frozenset(promised))
        if at_rest not in self._used:
            self._use(data, promised)
            self._used.add(at_rest)

    def _use(self, data: Path, promised: set[Promise]) -> None:
        """What comes after recovery: the client's retry, and another start."""
        store, index = FilesystemStore(data), LocalIndex(data)
        # Somebody else comes first: the retry must not live on what a lost line left in the catalog.
        for step in [BYSTANDER, *self._puts]:
            promised.add(self._ship(store, index, step))
        index.close()
        self._check(data, promised)
        self._settle(data)
        self._check(data, promised)

    def _settle(self, data: Path) -> None:
        backends = open_backends(Settings(data_dir=data))
        recover(backends.store, backends.index, rebuild_from_trace)
        backends.index.close()

    def _ship(self, store: FilesystemStore, index: LocalIndex, step: Step) -> Promise:
        """A retry is answered 201 or 200, or 409 when another upload of that name had won."""
        archive = self._archives[json.dumps(step)]
        try:
            sha256 = receive_episode(
                driver.upload_of(step["host"], step["episode"], archive),
                driver.BytesBody(archive.data),
                store=store,
                index=index,
                clock=SystemClock(),
                inspector=TakeAll(),
            ).episode.sha256
        except Conflict as exc:
            sha256 = str(exc.details["existing_sha256"])
        return Promise(step["host"], step["episode"], sha256)

    def _check(self, data: Path, promised: set[Promise]) -> None:
        """What has to hold at rest."""
        stored: dict[tuple[str, str], bytes] = {}
        for path in (data / "episodes").glob("*/*"):
            stored[path.parent.name, path.name.removesuffix(".tar.zst")] = path.read_bytes()
        shas = {key: self._whole(key, content) for key, content in stored.items()}
        lines = self._lines(data / "index.jsonl")
        for key, episode in lines.items():
            if shas.get(key) != episode.sha256:
                raise Broken(f"the line of {key} is not of what is stored")
            if episode.size_bytes != len(stored[key]):
                raise Broken(f"the line of {key} has another size")
            if not self._is_told(episode):
                raise Broken(f"the line of {key} says something else than its upload's head did")
        for promise in promised:
            key = (promise.host, promise.episode)
            if shas.get(key) != promise.sha256:
                raise Broken(f"{key} was acknowledged and is not stored")
            if key not in lines:
                raise Broken(f"{key} was acknowledged and is not in the index")
        if left := os.listdir(data / "incoming"):
            raise Broken(f"left in incoming/: {left}")

    def _is_told(self, episode: Episode) -> bool:
        """Whether the line says what the head of the upload did."""
        return stamps_of(episode) == driver.stamps_of(episode.sha256)

    def _whole(self, key: tuple[str, str], content: bytes) -> str:
        for sha256, (_, body) in self._bodies.items():
            if body == content:
                return sha256
        raise Broken(f"{key} is torn: {len(content)} bytes that nobody sent")

    @staticmethod
    def _lines(path: Path) -> dict[tuple[str, str], Episode]:
        lines: dict[tuple[str, str], Episode] = {}
        *whole, _ = path.read_bytes().split(b"\n")
        for number, line in enumerate(whole):
            try:
                episode = Episode.from_line(line)
            except ValueError as exc:
                if number == len(whole) - 1:
                    continue
                raise Broken(f"line {number} of the index is none: {line[:60]!r}") from exc
            key = (episode.host_id, episode.episode_id)
            if key in lines:
                raise Broken(f"{key} has two lines")
            lines[key] = episode
        return lines


def stamps_of(episode: Episode) -> Stamps:
    return Stamps(*(getattr(episode, declared.name) for declared in DECLARED))

"""Uploads in pieces: the steps of a driver that send them, and whether their promise holds in a state of a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cis490_receiver.clock import SystemClock
from cis490_receiver.errors import BodyTruncated, OffsetMismatch, ReceiverError, UploadLost
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.policy.inspection import TakeAll
from cis490_receiver.resumable import Resumables, piece
from cis490_receiver.storage import partial_log
from cis490_receiver.storage.base.partials import PartialUpload
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.storage.partials import FilesystemPartials
from tests.faults.support import driver
from tests.faults.support.course import Scenario, Step
from tests.faults.support.episodes import BYSTANDER, EpisodeInspector
from tests.faults.support.inspecting import Broken
from tests.faults.support.model import State
from tests.faults.support.recording import Promise, Recording, Said

OWNER = "somebody"
_PIECE = 3000


class LateClock:
    """A hundred days on."""

    def now_ns(self) -> int:
        return SystemClock().now_ns() + 100 * 86400 * 10**9


class BytesPiece:
    """Bytes at hand, after which a cut request fails."""

    def __init__(self, data: bytes, *, cut: bool = False) -> None:
        self.length = len(data) + cut
        self._rest = data
        self._cut = cut

    def readinto(self, buffer: memoryview) -> int:
        piece = self._rest[: min(len(buffer), _PIECE)]
        if not piece and self._cut:
            raise BodyTruncated
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def on_silence(self, tell: Callable[[float], None]) -> None:
        """There is none."""


class Uploads:
    """The uploads in pieces of one data folder."""

    def __init__(self, data: Path, *, late: bool = False) -> None:
        self.data = data
        self.partials = FilesystemPartials(data)
        self.index = LocalIndex(data)
        clock = LateClock() if late else SystemClock()
        self.all = Resumables(
            partials=self.partials,
            store=FilesystemStore(data),
            index=self.index,
            clock=clock,
            inspector=TakeAll(),
            expire_hours=72,
        )

    def of(self, step: Step) -> PartialUpload | None:
        """The one upload of an episode's name, wherever it is."""
        names = [
            path.name
            for folder in ("incoming", partial_log.RECEIPTS)
            for path in (self.data / folder).iterdir()
        ]
        ids = filter(None, map(partial_log.id_of, names))
        found = filter(None, map(self.partials.find, ids))
        return next((one for one in found if str(one.announced.upload.key) == _of(step)), None)

    def begin(self, step: Step) -> None:
        archive = driver.archive_of(step)
        self.all.begin(driver.upload_of(step["host"], step["episode"], archive), owner=OWNER, metadata="")

    def send(self, step: Step) -> PartialUpload:
        """The bytes up to `to`, from where the upload is."""
        state = self.of(step)
        assert state is not None
        data = driver.archive_of(step).data
        if step.get("wrong"):
            data = bytes(len(data))
        piece = BytesPiece(data[state.offset : step.get("to", len(data))], cut=bool(step.get("cut")))
        return self.all.append(state, state.offset, piece, sha256=None)


def _of(step: Step) -> str:
    return f"{step['host']}/{step['episode']}"


def _say(step: Step, state: PartialUpload) -> None:
    """What the request is answered: how far the upload is, or how it ended."""
    status = state.verdict.status if state.verdict else "under-way"
    answers: list[dict[str, Any]] = [{"of": _of(step), "offset": state.offset, "status": status}]
    if state.verdict is not None:
        sha256 = state.announced.upload.sha256
        answers.append({"host": step["host"], "episode": step["episode"], "sha256": sha256, "status": 201})
    os.write(1, b"".join(json.dumps(answer).encode() + b"\n" for answer in answers))


def _answering(do: Callable[[Uploads, Step], PartialUpload | None]) -> Callable[[Path, Step], None]:
    def run(data: Path, step: Step) -> None:
        uploads = Uploads(data, late=bool(step.get("late")))
        try:
            state = do(uploads, step)
        except BodyTruncated:
            # Nobody is there to be answered.
            return
        except ReceiverError as exc:
            answer = {"of": _of(step), "offset": 0, "status": exc.code}
            os.write(1, json.dumps(answer).encode() + b"\n")
            return
        finally:
            uploads.index.close()
        if state is not None:
            _say(step, state)

    return run


def _begin(uploads: Uploads, step: Step) -> PartialUpload | None:
    uploads.begin(step)
    return uploads.of(step)


def _send(uploads: Uploads, step: Step) -> PartialUpload:
    if step.get("often"):
        piece.CHECKPOINT_BYTES = 1  # type: ignore[misc]
    if step.get("dies"):
        uploads.index.append = lambda episode, placed: os._exit(0)  # type: ignore[method-assign]
    return uploads.send(step)


def _look(uploads: Uploads, step: Step) -> PartialUpload:
    state = uploads.of(step)
    assert state is not None
    state = uploads.all.look(state)
    if state.offset != step.get("at", state.offset):
        raise OffsetMismatch(state.offset)
    return state


def _discard(uploads: Uploads, step: Step) -> None:
    state = uploads.of(step)
    assert state is not None
    uploads.all.discard(state)
    os.write(1, json.dumps({"of": _of(step), "offset": 0, "status": "discarded"}).encode() + b"\n")


def _tidy(uploads: Uploads, step: Step) -> None:
    uploads.all.tidy()
    os.write(1, json.dumps({"of": _of(step), "offset": 0, "status": "tidied"}).encode() + b"\n")


def _tear_log(uploads: Uploads, step: Step) -> None:
    state = uploads.of(step)
    assert state is not None
    with (uploads.data / "incoming" / partial_log.name_of(state.upload_id)).open("ab") as log:
        log.write(b'{"offset":99')


STEPS: dict[str, Callable[[Path, Step], None]] = {
    "begin": _answering(_begin),
    "send": _answering(_send),
    "look": _answering(_look),
    "discard": _answering(_discard),
    "tidy": _answering(_tidy),
    "tear_log": _answering(_tear_log),
}


class ResumedInspector(EpisodeInspector):
    """Uploads in pieces: every byte that was counted is there, what ended is told as before, and each can be
    completed; episodes as ever."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        self._begun = {_of(step): step for step in what.steps if step["do"] == "begin"}
        #: What was durable before: the last offset of each upload.
        self._offsets = {_of(step): step["to"] for step in what.before if step["do"] == "send"}

    def _inspect(self, state: State, data: Path) -> None:
        self._settle(data)
        promised = {item for item in state.promises if isinstance(item, Promise)} | set(self._before)
        told = [json.loads(item.text) for item in state.promises if isinstance(item, Said)]
        for name, step in self._begun.items():
            self._check_upload(data, step, [item for item in told if item["of"] == name])
        self._check_episodes(data, promised)
        for step in self._begun.values():
            self._complete(data, step, promised)
        store, index = FilesystemStore(data), LocalIndex(data)
        for step in [BYSTANDER, *self._puts]:
            promised.add(self._ship(store, index, step))
        index.close()
        self._check(data, promised)
        self._settle(data)
        self._check(data, promised)

    def _check_upload(self, data: Path, step: Step, told: list[dict[str, Any]]) -> None:
        uploads = Uploads(data)
        state = uploads.of(step)
        words = {item["status"] for item in told}
        if words & {"discarded", "tidied"}:
            if state is not None and state.verdict is None:
                raise Broken("what was discarded goes on")
            return
        known = told or _of(step) in self._offsets
        if state is None:
            if known:
                raise Broken(f"the upload is gone, after {told}")
            return
        ends = words - {"under-way", "storage-failed"}
        try:
            state = uploads.all.look(state)
            end = state.verdict.status if state.verdict else None
        except ReceiverError as exc:
            end = exc.code
        finally:
            uploads.index.close()
        if ends and end not in ends:
            raise Broken(f"ended as {ends}, and says {end} now")
        if end == UploadLost.code:
            raise Broken("bytes that were counted are lost")
        counted = max([self._offsets.get(_of(step), 0), *(item["offset"] for item in told)])
        if end is None and state.offset < counted:
            raise Broken(f"{counted} bytes were counted, {state.offset} are there")

    def _complete(self, data: Path, step: Step, promised: set[Promise]) -> None:
        uploads = Uploads(data)
        state = uploads.of(step)
        try:
            if state is not None and state.verdict is None:
                # No bytes but what is missing: what was counted must be what was sent.
                state = uploads.send(step | {"to": len(driver.archive_of(step).data)})
                if state.verdict is None or state.verdict.status not in ("stored", "already-present"):
                    raise Broken(f"completed, and ended as {state.verdict}")
                sha256 = state.announced.upload.sha256
                promised.add(Promise(step["host"], step["episode"], sha256))
        except ReceiverError as exc:
            if exc.code != "conflict":
                raise Broken(f"cannot be completed: {exc.code}") from exc
        finally:
            uploads.index.close()

    def _check_episodes(self, data: Path, promised: set[Promise]) -> None:
        """`_check`, but for what waits in ``incoming/``."""
        waiting = list(FilesystemPartials(data).waiting())
        kept = data / "kept"
        kept.mkdir()
        moved = [
            path
            for path in (data / "incoming").iterdir()
            if any(one.upload_id in path.name for one in waiting)
        ]
        for path in moved:
            path.rename(kept / path.name)
        try:
            self._check(data, promised)
        finally:
            for path in moved:
                (kept / path.name).rename(path)
            kept.rmdir()
        if len(moved) != 2 * len(waiting):
            raise Broken(f"{len(waiting)} uploads wait, with {len(moved)} files")

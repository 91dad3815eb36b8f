"""Every system call of an upload in pieces fails in turn, and then kills in turn, in the real worker."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.support.inject import Seen, attached
from tests.integration.test_uploads import TUS, create, creation, head, send
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Answer, Receiver, running

pytestmark = pytest.mark.slow

ERRORS = {"write": ("ENOSPC",), "fdatasync": ("EIO", "ENOSPC"), "linkat": ("ENOSPC",)}
GOOD = make_episode(1, size=20_000)
HALF = 10_000
STEPS = ("create", "append", "finish")


class Laboratory:
    """A receiver with one worker and one thread, which strace attaches to."""

    def __init__(self, receiver: Receiver, strace: str) -> None:
        self.receiver = receiver
        self._strace = strace
        self._numbers = itertools.count()
        receiver.put("warm", "up", GOOD)
        receiver.put("warm", "up", GOOD)

    def try_one(self, step: str, *inject: str) -> tuple[Answer | None, Seen]:
        """One request under faults; the answer is None when the connection broke."""
        receiver, name = self.receiver, f"e{next(self._numbers)}"
        path = "" if step == "create" else create(receiver, GOOD, name=name)
        if step == "finish":
            assert send(receiver, path, 0, GOOD.data[:HALF]).status == 204
        answer: Answer | None = None
        with attached(self._strace, receiver.worker_pids()[0], *inject) as seen:
            try:
                answer = self._ask(step, path, name)
            except (OSError, http.client.HTTPException):
                answer = None
        if seen.missed():
            for one in receiver.request("GET", "/v1/uploads", None, AUTH).json["uploads"]:
                receiver.request("DELETE", f"/v1/uploads/{one['upload_id']}", None, AUTH | TUS)
            return self.try_one(step, *inject)
        self._afterwards(step, path, name, answer, str(inject))
        return answer, seen

    def _ask(self, step: str, path: str, name: str) -> Answer:
        if step == "create":
            return self.receiver.request("POST", "/v1/uploads", None, creation(GOOD, name=name), timeout=10)
        if step == "append":
            return send(self.receiver, path, 0, GOOD.data[:HALF])
        return send(self.receiver, path, HALF, GOOD.data[HALF:])

    def _afterwards(self, step: str, path: str, name: str, answer: Answer | None, what: str) -> None:
        """What was acknowledged is there, the upload goes on and ends well, and nothing is left."""
        receiver = self.receiver
        told = answer is not None and answer.status in (201, 204)
        if step == "create":
            path = (
                answer.headers["Location"]
                if answer is not None and told
                else create(receiver, GOOD, name=name)
            )
        state = head(receiver, path)
        assert state.status == 200, what
        sure = {"create": 0, "append": HALF if told else 0, "finish": HALF}[step]
        offset = int(state.headers["Upload-Offset"])
        assert offset >= sure, what
        if told and step == "finish":
            assert state.headers["X-Episode-Status"] in ("stored", "already-present"), what
        last = send(receiver, path, offset, GOOD.data[offset:])
        assert last.status == 204 and last.headers["X-Episode-Status"] in ("stored", "already-present"), what
        episode = receiver.request("GET", f"/v1/episodes/lab-1/{name}.tar.zst", None, AUTH)
        assert episode.body == GOOD.data, what
        assert sum(line["episode_id"] == name for line in receiver.index()) == 1, what
        # One that was made, and whose maker was not told.
        for one in receiver.request("GET", "/v1/uploads", None, AUTH).json["uploads"]:
            assert step == "create" and not told, what
            gone = receiver.request("DELETE", f"/v1/uploads/{one['upload_id']}", None, AUTH | TUS)
            assert gone.status == 204, what
        assert receiver.incoming() == [], what


@pytest.fixture
def laboratory(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Laboratory]:
    with running(tmp_path, workers=1, threads=1) as receiver:
        yield Laboratory(receiver, tool("strace"))


@pytest.mark.parametrize("step", STEPS)
def test_no_failing_call_breaks_the_promise(step: str, laboratory: Laboratory) -> None:
    answer, seen = laboratory.try_one(step)
    assert answer is not None and answer.status in (201, 204)
    for call, count in seen.counts().items():
        for number, error in itertools.product(range(1, count + 1), ERRORS.get(call, ("EIO",))):
            fault = f"{call}:error={error}:when={number}"
            answer, _ = laboratory.try_one(step, fault)
            assert answer is not None, f"{fault}: the connection broke"
            if answer.status not in (201, 204):
                assert answer.status in (500, 503, 507), f"{fault}: {answer.status}"
                assert answer.json["code"] != "internal-error", fault


@pytest.mark.parametrize("step", STEPS)
def test_no_death_breaks_the_promise(step: str, laboratory: Laboratory) -> None:
    _, seen = laboratory.try_one(step)
    tried = 0
    for call, count in seen.counts().items():
        for number in range(1, count + 1):
            answer, _ = laboratory.try_one(step, f"{call}:signal=KILL:when={number}")
            assert answer is None or answer.status in (201, 204)
            tried += answer is None
    assert tried > 5

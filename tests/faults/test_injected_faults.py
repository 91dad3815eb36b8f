"""Every system call of a PUT fails in turn, and then kills in turn, in the real worker."""

from __future__ import annotations

import hashlib
import http.client
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.support.inject import Seen, attached
from tests.support.archives import Archive, make_episode
from tests.support.receiver import Answer, Receiver, running

pytestmark = pytest.mark.slow

#: What each call may fail with; EIO where nothing is said.
ERRORS = {
    "openat": ("EIO", "EMFILE"),
    "write": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "linkat": ("EIO", "ENOSPC", "EINTR"),
    "mkdir": ("EIO", "ENOSPC"),
    "flock": ("ENOLCK", "EINTR"),
}
GOOD, OTHER = make_episode(1), make_episode(2)


@dataclass(frozen=True)
class Way:
    """One way through the code: what is there before, and the answer when nothing fails."""

    name: str
    before: Archive | None
    known_host: bool
    status: int


WAYS = (
    Way("new-host", None, False, 201),
    Way("known-host", None, True, 201),
    Way("repeat", GOOD, True, 200),
    Way("conflict", OTHER, True, 409),
)


class Laboratory:
    """A receiver with one worker and one thread, which strace attaches to."""

    def __init__(self, receiver: Receiver, strace: str) -> None:
        self.receiver = receiver
        self._strace = strace
        self._numbers = itertools.count()
        receiver.put("warm", "up", GOOD)
        # From here on the catalog is open.
        receiver.put("warm", "up", GOOD)

    def try_one(self, way: Way, *inject: str) -> tuple[Answer | None, Seen, str]:
        """A PUT under faults; the answer is None when the connection broke."""
        number = next(self._numbers)
        host = "known" if way.known_host else f"host-{number}"
        episode = f"ep-{number}"
        if way.known_host:
            self.receiver.put(host, f"before-{number}", make_episode(3))
        if way.before is not None:
            assert self.receiver.put(host, episode, way.before).status == 201
        answer: Answer | None = None
        with attached(self._strace, self.receiver.worker_pids()[0], *inject) as seen:
            try:
                answer = self.receiver.put(host, episode, GOOD, timeout=10)
            except (OSError, http.client.HTTPException):
                answer = None
        if seen.missed():
            return self.try_one(way, *inject)
        self._afterwards(way, host, episode, str(inject))
        return answer, seen, host

    def _afterwards(self, way: Way, host: str, episode: str, what: str) -> None:
        """The receiver goes on, a retry succeeds, index and disk agree, nothing is left."""
        receiver = self.receiver
        assert receiver.put("warm", f"after-{host}-{episode}", make_episode(4)).status == 201, what
        assert receiver.put(host, episode, GOOD).status in ((409,) if way.status == 409 else (200, 201)), what
        assert receiver.incoming() == [], what
        lines = [
            (line["host_id"], f"{line['episode_id']}.tar.zst", line["sha256"]) for line in receiver.index()
        ]
        stored = [(*key, hashlib.sha256(data).hexdigest()) for key, data in receiver.stored().items()]
        assert sorted(lines) == sorted(stored), what


@pytest.fixture
def laboratory(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Laboratory]:
    with running(tmp_path, workers=1, threads=1) as receiver:
        yield Laboratory(receiver, tool("strace"))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_no_failing_call_breaks_the_promise(way: Way, laboratory: Laboratory) -> None:
    answer, seen, _ = laboratory.try_one(way)
    assert answer is not None and answer.status == way.status
    tried = 0
    for call, count in seen.counts().items():
        for number, error in itertools.product(range(1, count + 1), ERRORS.get(call, ("EIO",))):
            fault = f"{call}:error={error}:when={number}"
            answer, faulty, host = laboratory.try_one(way, fault)
            _check_answer(answer, faulty, fault, way, host)
            tried += 1
    print(f"{way.name}: {tried} failing calls")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_no_death_breaks_the_promise(way: Way, laboratory: Laboratory) -> None:
    _, seen, _ = laboratory.try_one(way)
    tried = 0
    for call, count in seen.counts().items():
        for number in range(1, count + 1):
            answer, _, _ = laboratory.try_one(way, f"{call}:signal=KILL:when={number}")
            # A worker that has just taken a dead one's place makes a call more or less than the first.
            assert answer is None or answer.status == way.status
            tried += answer is None
    assert tried > 20
    print(f"{way.name}: {tried} deaths")


@pytest.mark.parametrize("first", ["write:error=ENOSPC:when=2", "fdatasync:error=EIO:when=1"])
def test_a_line_that_cannot_be_taken_back_is_not_acknowledged(first: str, laboratory: Laboratory) -> None:
    answer, _, _ = laboratory.try_one(WAYS[1], first, "ftruncate:error=EIO:when=1")
    assert answer is not None
    assert answer.status in (500, 507)


def test_interrupted_calls_are_made_again(laboratory: Laboratory) -> None:
    faults = [f"{call}:error=EINTR:when=1" for call in ("openat", "write", "fsync", "fdatasync", "flock")]
    answer, seen, _ = laboratory.try_one(WAYS[0], *faults)
    assert answer is not None and answer.status == 201
    assert sum("INJECTED" in rest for _, rest in seen.handler()) == len(faults)


def _check_answer(answer: Answer | None, seen: Seen, fault: str, way: Way, host: str) -> None:
    assert answer is not None, f"{fault}: the connection broke"
    if answer.status in (200, 201):
        assert _was_made_durable(answer.status, seen, way, host), (
            f"{fault}: {answer.status} without its syncs"
        )
    elif answer.status != way.status:
        assert answer.status in (500, 503, 507), f"{fault}: {answer.status}"
        assert {"error", "code"} <= answer.json.keys(), fault
        assert answer.json["code"] != "internal-error", fault


def _was_made_durable(status: int, seen: Seen, way: Way, host: str) -> bool:
    """Whether every sync that the promise rests on was made, and came back without an error."""
    done = [f"{name} {rest}" for name, rest in seen.handler() if name.endswith("sync")]
    needed = ["index.jsonl>) = 0"]
    if status == 201:
        needed += [f"/episodes/{host}>) = 0", "/incoming/"]
        needed += [] if way.known_host else ["/episodes>) = 0"]
    failed = [call for call in done if not call.endswith("= 0") and "catalog" not in call]
    return not failed and all(any(part in call for call in done) for part in needed)

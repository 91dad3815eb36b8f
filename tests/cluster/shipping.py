"""Writers that ship to a cluster as long as it is tried, and what becomes of what they were told."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tests.cluster.running import Cluster
from tests.support.receiver import AUTH, Receiver

WRITERS = 6
#: How many names the writers fight for.
NAMES_EACH = 3
_PATIENCE_SECONDS = 20.0
#: What a client may be told while parts are away; 0 is a connection that broke.
ANSWERS = frozenset({0, 200, 201, 409, 503})
SMALL = (10, 2000, 70_000)


@dataclass
class Trial:
    """What happened.

    Attributes:
        acknowledged: by name, the digest that a 201 or 200 was given for.
        answers: how often each status came; 0 is a connection that broke.
        told: when each was asked for, and when it came, on the monotonic clock.
        slowest_seconds: the longest that an answer took to a body of `SMALL`.
        kills: how often each part was killed.
        lost: what is not as it was told.
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict)
    told: list[tuple[float, float, int]] = field(default_factory=list)
    slowest_seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


class Shipping:
    """`WRITERS` ship bodies of `sizes` to any receiver of `cluster`, under names that others ship too, with other
    bytes."""

    def __init__(self, cluster: Cluster, *, sizes: Sequence[int] = SMALL) -> None:
        self.trial = Trial()
        self._cluster = cluster
        self._sizes = sizes
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Ship during the block."""
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def wait_for(self, acknowledged: int) -> None:
        """Until so many were, or something is wrong."""
        while len(self.trial.acknowledged) < acknowledged and not self.trial.lost:
            time.sleep(0.05)

    def check(self, answers: Collection[int] = ANSWERS) -> None:
        """Every acknowledged episode is there, once, whole, wherever it is asked for; and there were no others than
        these `answers`."""
        lost, receivers = self.trial.lost, self._cluster.receivers
        if wrong := set(self.trial.answers) - set(answers):
            lost.append(f"answers that are wrong: {sorted(wrong)}")
        lines = [receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body for receiver in receivers]
        if len(set(lines)) != 1:
            lost.append("the receivers have different indexes")
        records = [json.loads(line) for line in lines[0].splitlines()]
        indexed = {record["episode_id"]: record["sha256"] for record in records}
        if len(indexed) != len(records):
            lost.append("an episode has two lines")
        for number, (name, digest) in enumerate(self.trial.acknowledged.items()):
            receiver = receivers[number % len(receivers)]
            answer = receiver.request("GET", f"/v1/episodes/lab-1/{name}.tar.zst", headers=AUTH)
            if answer.status != 200 or hashlib.sha256(answer.body).hexdigest() != digest:
                lost.append(f"{name} is not what was acknowledged ({answer.status})")
            if indexed.get(name) != digest:
                lost.append(f"{name} is not in the index")

    def _write(self, writer: int) -> None:
        choose, number = random.Random(writer), 0
        while not self._stopped.is_set():
            number += 1
            name = f"e{number}-{choose.randrange(NAMES_EACH)}-{writer // 2}"
            data = f"{name} {writer % 2} ".encode() * (choose.choice(self._sizes) // 10)
            digest = hashlib.sha256(data).hexdigest()
            status = 0
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while (
                status not in (200, 201, 409) and time.monotonic() < deadline and not self._stopped.is_set()
            ):
                began = time.monotonic()
                status = put(choose.choice(self._cluster.receivers), name, data, digest)
                self._note(name, data, digest, status, began)
                if status not in (200, 201, 409):
                    time.sleep(0.1)

    def _note(self, name: str, data: bytes, digest: str, status: int, began: float) -> None:
        with self._lock:
            trial, now = self.trial, time.monotonic()
            trial.answers[status] = trial.answers.get(status, 0) + 1
            trial.told.append((began, now, status))
            if len(data) <= max(SMALL):
                trial.slowest_seconds = max(trial.slowest_seconds, now - began)
            if status not in (200, 201):
                return
            if trial.acknowledged.setdefault(name, digest) != digest:
                trial.lost.append(f"{name} was acknowledged with other bytes before")


def put(receiver: Receiver, name: str, data: bytes, digest: str) -> int:
    """The status that a PUT is answered with; 0 where the connection broke."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=90)
        with contextlib.closing(connection):
            headers = AUTH | {"X-Content-SHA256": digest}
            connection.request("PUT", f"/v1/episodes/lab-1/{name}.tar.zst", data, headers)
            return connection.getresponse().status
    return 0

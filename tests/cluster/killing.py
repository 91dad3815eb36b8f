"""Kill whatever a cluster is made of while episodes are shipped, and see whether all that was acknowledged is there.

Run it for long by hand: ``python -m tests.cluster.killing --acknowledged 5000 --kills 50``. With ``--asynchronous`` the
standby is told of commits after the client, and what was acknowledged is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import random
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.running import Cluster
from tests.support import failover, objects, postgres
from tests.support.receiver import AUTH, Receiver

WRITERS = 6
#: How many names the writers fight for.
NAMES_EACH = 3
_PATIENCE_SECONDS = 20.0
#: What a client may be told while parts are away; 0 is a connection that broke.
_ANSWERS = frozenset({0, 200, 201, 409, 503})
FAIL_OVER = "primary, the standby promoted"
#: What is killed, and how often in comparison.
KINDS = {"receiver": 5, FAIL_OVER: 3, "primary, started again": 1, "standby": 1, "store": 2}


@dataclass
class Trial:
    """What happened.

    Attributes:
        acknowledged: by name, the digest that a 201 or 200 was given for.
        answers: how often each status came; 0 is a connection that broke.
        kills: how often each part was killed.
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def content(name: str, version: int, choose: random.Random) -> bytes:
    size = choose.choice((10, 2000, 70_000))
    return f"{name} {version} ".encode() * (size // 10)


class Killing:
    """One trial on `cluster`, whose database is `pair`, and whose objects `store` keeps."""

    def __init__(self, cluster: Cluster, pair: failover.Pair, store: objects.Process, seed: int) -> None:
        self.cluster = cluster
        self.pair = pair
        self.store = store
        self.choose = random.Random(seed)
        self.trial = Trial()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, acknowledged: int, kills: int, kinds: Collection[str] = tuple(KINDS)) -> Trial:
        """Go on until there were so many of both; of `kills`, each of `kinds` at least once."""
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            for kind in self._order(kills, kinds):
                time.sleep(self.choose.uniform(0.05, 0.4))
                self._kill(kind)
                self.trial.kills[kind] = self.trial.kills.get(kind, 0) + 1
            while len(self.trial.acknowledged) < acknowledged and not self.trial.lost:
                time.sleep(0.1)
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()
        self._check()
        return self.trial

    def _order(self, kills: int, kinds: Collection[str]) -> list[str]:
        more = self.choose.choices(list(kinds), [KINDS[kind] for kind in kinds], k=kills - len(kinds))
        order = [*kinds, *more]
        self.choose.shuffle(order)
        return order

    def _kill(self, kind: str) -> None:
        if kind == "receiver":
            self._kill_receiver()
        elif kind == FAIL_OVER:
            self.pair.fail_over(self.choose)
        elif kind == "primary, started again":
            self._kill_for_a_moment(self.pair.primary)
        elif kind == "standby":
            self._kill_for_a_moment(self.pair.standby)
        else:
            self._kill_for_a_moment(self.store)

    def _kill_receiver(self) -> None:
        receiver = self.choose.choice(self.cluster.receivers)
        receiver.kill()
        receiver.start()

    def _kill_for_a_moment(self, part: objects.Process | postgres.Server) -> None:
        part.kill()
        time.sleep(self.choose.uniform(0, 0.5))
        part.start()

    def _write(self, writer: int) -> None:
        """Ship, to any receiver, names that other writers ship too, with other bytes."""
        choose, number = random.Random(writer), 0
        while not self._stopped.is_set():
            number += 1
            name = f"e{number}-{choose.randrange(NAMES_EACH)}-{writer // 2}"
            data = content(name, writer % 2, choose)
            digest = hashlib.sha256(data).hexdigest()
            status = 0
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while status not in (200, 201, 409) and time.monotonic() < deadline:
                status = self._put(choose.choice(self.cluster.receivers), name, data, digest)
                if status not in (200, 201, 409):
                    time.sleep(0.1)
                with self._lock:
                    self.trial.answers[status] = self.trial.answers.get(status, 0) + 1
                    if status in (200, 201):
                        before = self.trial.acknowledged.setdefault(name, digest)
                        if before != digest:
                            self.trial.lost.append(f"{name} was acknowledged with other bytes before")

    def _put(self, receiver: Receiver, name: str, data: bytes, digest: str) -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
            with contextlib.closing(connection):
                headers = AUTH | {"X-Content-SHA256": digest}
                connection.request("PUT", f"/v1/episodes/lab-1/{name}.tar.zst", data, headers)
                return connection.getresponse().status
        return 0

    def _check(self) -> None:
        """Every acknowledged episode is there, once, whole, wherever it is asked for."""
        if wrong := set(self.trial.answers) - _ANSWERS:
            self.trial.lost.append(f"answers that are wrong: {sorted(wrong)}")
        lines = [
            receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body
            for receiver in self.cluster.receivers
        ]
        if len(set(lines)) != 1:
            self.trial.lost.append("the receivers have different indexes")
        records = [json.loads(line) for line in lines[0].splitlines()]
        indexed = {record["episode_id"]: record["sha256"] for record in records}
        if len(indexed) != len(records):
            self.trial.lost.append("an episode has two lines")
        for number, (name, digest) in enumerate(self.trial.acknowledged.items()):
            receiver = self.cluster.receivers[number % len(self.cluster.receivers)]
            answer = receiver.request("GET", f"/v1/episodes/lab-1/{name}.tar.zst", headers=AUTH)
            if answer.status != 200 or hashlib.sha256(answer.body).hexdigest() != digest:
                self.trial.lost.append(f"{name} is not what was acknowledged ({answer.status})")
            if indexed.get(name) != digest:
                self.trial.lost.append(f"{name} is not in the index")


def try_it(
    folder: Path,
    acknowledged: int,
    kills: int,
    seed: int,
    *,
    kinds: Collection[str] = tuple(KINDS),
    replication: str = failover.SYNCHRONOUS,
) -> Trial:
    """A trial of parts of its own, which keep what they keep in `folder`."""
    store, pair = objects.seaweedfs_process(folder / "store"), failover.Pair(replication)
    try:
        store.start()
        cluster = Cluster(folder, store.server, pair.migrated())
        try:
            cluster.start()
            return Killing(cluster, pair, store, seed).run(acknowledged, kills, kinds)
        finally:
            cluster.end()
    finally:
        store.kill()
        pair.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acknowledged", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--asynchronous",
        dest="replication",
        action="store_const",
        const=failover.ASYNCHRONOUS,
        default=failover.SYNCHRONOUS,
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = try_it(
            Path(folder),
            arguments.acknowledged,
            arguments.kills,
            arguments.seed,
            replication=arguments.replication,
        )
    print(f"acknowledged {len(trial.acknowledged)}, kills {trial.kills}, answers {trial.answers}")
    print("\n".join(trial.lost) or "nothing is lost")
    raise SystemExit(bool(trial.lost))


if __name__ == "__main__":
    main()

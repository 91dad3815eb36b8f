"""Kill whatever a cluster is made of while episodes are shipped, and see whether all that was acknowledged is there.

Run it for long by hand: ``python -m tests.cluster.killing --acknowledged 5000 --kills 50``.
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
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.running import Cluster
from tests.support import objects, postgres
from tests.support.receiver import AUTH, Receiver

WRITERS = 6
#: How many names the writers fight for.
NAMES_EACH = 3
_PATIENCE_SECONDS = 20.0


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
    """One trial on `cluster`, whose database server is `database`."""

    def __init__(self, cluster: Cluster, database: postgres.Server, seed: int) -> None:
        self.cluster = cluster
        self.database = database
        self.choose = random.Random(seed)
        self.trial = Trial()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, acknowledged: int, kills: int) -> Trial:
        """Go on until there were so many of both."""
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            while len(self.trial.acknowledged) < acknowledged or sum(self.trial.kills.values()) < kills:
                if sum(self.trial.kills.values()) < kills:
                    self._kill()
                time.sleep(self.choose.uniform(0.05, 0.4))
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()
        self._check()
        return self.trial

    def _kill(self) -> None:
        if self.choose.random() < 0.25:
            self.database.kill()
            self._count("database")
            time.sleep(self.choose.uniform(0, 0.5))
            self.database.start()
            return
        receiver = self.choose.choice(self.cluster.receivers)
        receiver.kill()
        self._count("receiver")
        receiver.start()

    def _count(self, part: str) -> None:
        self.trial.kills[part] = self.trial.kills.get(part, 0) + 1

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acknowledged", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    database = postgres.Server()
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), objects.shared("seaweedfs"), database.migrated())
        cluster.start()
        try:
            killing = Killing(cluster, database, arguments.seed)
            trial = killing.run(arguments.acknowledged, arguments.kills)
        finally:
            cluster.end()
            database.remove()
    print(f"acknowledged {len(trial.acknowledged)}, kills {trial.kills}, answers {trial.answers}")
    print("\n".join(trial.lost) or "nothing is lost")
    raise SystemExit(bool(trial.lost))


if __name__ == "__main__":
    main()

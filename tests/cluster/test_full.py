"""A cluster whose database or bucket is full: the answers are true, reading goes on, and so does all else when there is
room."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cluster.running import Cluster
from tests.faults.test_full_disk import Disk
from tests.support import objects, postgres
from tests.support.receiver import AUTH, Answer, Receiver

pytestmark = pytest.mark.slow

MIB = 1 << 20


class Shipped:
    """What was acknowledged by `receiver`."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.bodies: dict[str, bytes] = {}
        self._number = 0

    def ship(self, size: int = 10) -> Answer:
        """Another one."""
        self._number += 1
        # SeaweedFS would compress it otherwise.
        name, body = f"e{self._number}", random.Random(self._number).randbytes(size)
        headers = AUTH | {"X-Content-SHA256": hashlib.sha256(body).hexdigest()}
        answer = self.receiver.request("PUT", f"/v1/episodes/lab-1/{name}.tar.zst", body, headers)
        if answer.status == 201:
            self.bodies[name] = body
        return answer

    def until_refused(self, size: int = 10) -> Answer:
        while (answer := self.ship(size)).status == 201:
            assert self._number < 500
        assert int(answer.headers["Retry-After"]) > 0
        return answer

    def until_taken(self, seconds: float, size: int = 10) -> None:
        ends = time.monotonic() + seconds
        while self.ship(size).status != 201:
            assert time.monotonic() < ends
            time.sleep(0.1)

    def check(self) -> None:
        """All of it can be read, and is listed."""
        lines = self.receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body.splitlines()
        assert len(lines) == len(self.bodies)
        for name, body in self.bodies.items():
            answer = self.receiver.request("GET", f"/v1/episodes/lab-1/{name}.tar.zst", headers=AUTH)
            assert answer.body == body


@pytest.fixture
def disk() -> Iterator[Callable[[str], Disk]]:
    """Make a small disk that PostgreSQL's user comes to as well."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a small tmpfs is mounted")
    with contextlib.ExitStack() as stack:

        def make(size: str) -> Disk:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cis490-disk-")))
            folder.chmod(0o755)
            made = Disk(folder / "disk", f"size={size},mode=777")
            stack.callback(made.unmount)
            return made

        yield make


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[objects.Server, postgres.Server], Shipped]]:
    started: list[Cluster] = []

    def start(store: objects.Server, database: postgres.Server) -> Shipped:
        started.append(Cluster(tmp_path, store, database.migrated()))
        started[-1].receivers[0].start()
        return Shipped(started[-1].receivers[0])

    yield start
    for one in started:
        one.end()


def reasons(shipped: Shipped) -> list[str]:
    """Why the receiver is not ready."""
    return list(shipped.receiver.request("GET", "/v1/ready", timeout=60).json.get("reasons", []))


def test_a_database_without_room_for_its_rows(
    disk: Callable[[str], Disk], start: Callable[[objects.Server, postgres.Server], Shipped]
) -> None:
    small = disk("100m")
    database = postgres.Server(disk=small.folder)
    shipped = start(objects.shared("seaweedfs"), database)
    try:
        assert shipped.ship().status == 201 and reasons(shipped) == []
        ballast = small.fill(0)
        refused = shipped.until_refused()
        assert (refused.status, refused.json["code"]) == (507, "storage-full")
        assert reasons(shipped) == ["storage-full"]
        shipped.check()
        ballast.unlink()
        assert shipped.ship().status == 201 and reasons(shipped) == []
        shipped.check()
    finally:
        database.remove()


def test_a_database_without_room_for_its_log(
    disk: Callable[[str], Disk], start: Callable[[objects.Server, postgres.Server], Shipped]
) -> None:
    small = disk("64m")
    database = postgres.Server("max_wal_size=32MB", "min_wal_size=32MB", log_disk=small.folder)
    shipped = start(objects.shared("seaweedfs"), database)
    try:
        assert shipped.ship().status == 201
        ballast = small.fill(0)
        # It writes its log no further, ends all connections, and may not come up again without room.
        with contextlib.suppress(psycopg.Error):
            for number in range(5):
                database.ask("SELECT pg_switch_wal()")
                database.ask(f"CREATE TABLE filling_{number} ()")
        refused = shipped.until_refused()
        assert (refused.status, refused.json["code"]) == (503, "database-unavailable")
        assert reasons(shipped) == ["database-unavailable"]
        ballast.unlink()
        if database.has_ended():
            database.start()
        shipped.until_taken(10)
        assert reasons(shipped) == []
        shipped.check()
    finally:
        database.remove()


def test_a_bucket_without_room(
    disk: Callable[[str], Disk], start: Callable[[objects.Server, postgres.Server], Shipped]
) -> None:
    small = disk("200m")
    store = objects.seaweedfs_process(small.folder / "store")
    database = postgres.shared()
    try:
        store.start()
        shipped = start(store.server, database)
        assert shipped.ship(MIB).status == 201
        ballast = small.fill(10 * MIB)
        refused = shipped.until_refused(MIB // 2)
        assert (refused.status, refused.json["code"]) == (503, "store-unavailable")
        shipped.check()
        ballast.unlink()
        shipped.until_taken(10, MIB // 2)
        shipped.check()
    finally:
        store.kill()

"""An object store that is sick while hosts ship: they are told so in time, nothing that was acknowledged is lost, and
all goes on by itself when it is well."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from tests.cluster.running import Cluster
from tests.cluster.shipping import SMALL, Shipping, put
from tests.integration.test_uploads import create, send
from tests.support import objects, postgres
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver
from tests.support.spoiling import FORGET_PARTS, WAYS, SpoilingProxy

pytestmark = pytest.mark.slow

#: Every eighth body has two parts.
SIZES = (*SMALL, *SMALL, 70_000, 9_000_000)
#: How long the store is sick: longer than a request with few bytes waits for a store that hangs.
SECONDS = {"hang": 15.0}
#: What an answer takes then, and what is on top of it on a busy machine.
SLOWEST_SECONDS = 20.0
LONGEST_SECONDS = 3 * SLOWEST_SECONDS
MOST_MEMORY_MIB = 300
#: What became of episodes, and what `verify` says of them.
FORGOTTEN = {"gone": "missing", "other": "sha256", "short": "size"}


@pytest.fixture
def proxy() -> Iterator[SpoilingProxy]:
    made = SpoilingProxy(objects.shared("seaweedfs").port)
    yield made
    made.close()


@pytest.fixture
def cluster(proxy: SpoilingProxy, tmp_path: Path) -> Iterator[Cluster]:
    server = objects.Server(proxy.port)
    made = Cluster(tmp_path, server, postgres.shared().migrated())
    made.start()
    yield made
    made.end()


def memory_mib(receiver: Receiver) -> float:
    """The most that a worker had in memory."""
    lines = [Path(f"/proc/{pid}/status").read_text() for pid in receiver.worker_pids()]
    return max(int(text.partition("VmHWM:")[2].split()[0]) for text in lines) / 1024


def told_since(shipping: Shipping, began: float) -> set[int]:
    """What was told to those who asked after that."""
    return {status for asked, _, status in list(shipping.trial.told) if asked > began}


def test_a_sick_store_is_told_and_survived(cluster: Cluster, proxy: SpoilingProxy) -> None:
    shipping = Shipping(cluster, sizes=SIZES)
    with shipping.going_on():
        for way in WAYS:
            shipping.wait_for(len(shipping.trial.acknowledged) + 20)
            proxy.way = way
            began = time.monotonic()
            ready = cluster.receivers[0].request("GET", "/v1/ready", timeout=15)
            time.sleep(max(0.0, began + SECONDS.get(way, 3.0) - time.monotonic()))
            while not (during := told_since(shipping, began)) and time.monotonic() < began + LONGEST_SECONDS:
                time.sleep(0.1)
            assert 503 in during and not during & {200, 201}, (way, during)
            # The one that it writes was there before.
            assert way == "forget" or "store-unavailable" in ready.json["reasons"], way
            proxy.way = None
        shipping.wait_for(len(shipping.trial.acknowledged) + 20)
    shipping.check()
    assert shipping.trial.lost == []
    large = bytes(9_000_000)
    for way, status in ((FORGET_PARTS, 503), (None, 201)):
        proxy.way = way
        assert put(cluster.receivers[0], "parts", large, hashlib.sha256(large).hexdigest()) == status
    assert shipping.trial.slowest_seconds < SLOWEST_SECONDS
    for receiver in cluster.receivers:
        assert memory_mib(receiver) < MOST_MEMORY_MIB
        metrics = receiver.request("GET", "/metrics", headers=AUTH).body.decode()
        assert "cis490_uploads_in_flight 0.0" in metrics
        # No thread is stuck.
        assert receiver.stop() == 0


def test_what_a_store_forgot_after_it_said_yes_is_found(tmp_path: Path) -> None:
    """What rests on the store's word: docs/scaling.md."""
    server = objects.shared("seaweedfs")
    cluster = Cluster(tmp_path, server, postgres.shared().migrated())
    receiver = cluster.receivers[0]
    receiver.start()
    client = ObjectClient(ObjectsConfig(objects.BUCKET, tmp_path.name, server.options()))
    episodes = {name: make_episode(number, size=2000) for number, name in enumerate(("kept", *FORGOTTEN))}
    for name, episode in episodes.items():
        assert receiver.put("lab-1", name, episode).status == 201
    assert cluster.run("release", "create", "r1", "--why", "a paper").returncode == 0
    unfinished = make_episode(9, size=1000)
    upload = create(receiver, unfinished)
    assert send(receiver, upload, 0, unfinished.data[:500]).status == 204

    for key in objects.names(client):
        name = key.split("/")[-2]
        if name in ("gone", ".pieces", ".releases"):
            client.delete(key)
        elif name == "other":
            client.put_small(key, b"?" * len(episodes["other"].data))
        elif name == "short":
            client.put_small(key, episodes["short"].data[:-1])

    def damaged(command: str) -> dict[str, str]:
        done = cluster.run(*command.split(), "--json")
        found = {one["episode_id"]: one["kind"] for one in json.loads(done.stdout)["damaged"]}
        assert done.returncode == bool(found), done.stderr
        return found

    assert damaged("verify") == FORGOTTEN
    verified = cluster.run("release", "verify", "r1", "--json")
    assert verified.returncode == 1 and json.loads(verified.stdout)["code"] == "release-damaged"
    assert send(receiver, upload, 500, unfinished.data[500:]).status == 500
    assert send(receiver, upload, 500, unfinished.data[500:]).status == 410
    # A host is not told that what is visibly broken is there.
    assert [receiver.put("lab-1", name, episodes[name]).status for name in ("gone", "short")] == [500, 500]

    looked = json.loads(cluster.run("reindex", "--json").stdout)
    assert (looked["rebuilt"], looked["set_aside"], looked["unreadable"]) == (0, 1, [])
    assert looked["damaged"] == ["lab-1/short"]
    assert damaged("verify --quarantine") == {"other": "sha256", "short": "size"}
    assert [receiver.put("lab-1", name, episodes[name]).status for name in FORGOTTEN] == [201] * 3
    assert damaged("verify") == {}
    listed = receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body.splitlines()
    assert sorted(json.loads(line)["episode_id"] for line in listed) == sorted(episodes)
    receiver.end()

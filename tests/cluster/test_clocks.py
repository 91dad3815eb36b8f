"""Machines whose clocks are apart: everything goes by the database's, and where that jumps nothing is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.running import Cluster
from tests.cluster.shipping import Shipping
from tests.integration.test_uploads import create, offset_of, send
from tests.support import objects, postgres
from tests.support.archives import make_episode
from tests.support.failover import Pair
from tests.support.receiver import AUTH

pytestmark = pytest.mark.slow


def test_receivers_and_commands_go_by_one_clock(tmp_path: Path, tool: Callable[[str], str]) -> None:
    faketime = tool("faketime")
    # As far apart as a store takes requests.
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), postgres.shared().migrated())
    try:
        for receiver, clock in zip(cluster.receivers, ("+14m", "-14m"), strict=True):
            receiver.start(faketime, "-f", clock)
        episode = make_episode(1, size=3000)
        for number, receiver in enumerate(cluster.receivers):
            assert receiver.put("lab-1", f"e{number}", episode).status == 201
        lines = cluster.receivers[0].request("GET", "/v1/index.jsonl", headers=AUTH).body.splitlines()
        stamps = [json.loads(line)["received_at_ns"] for line in lines]
        assert len(stamps) == 2 and all(abs(at_ns - time.time_ns()) < 60 * 10**9 for at_ns in stamps)

        # Each symptom once, though hours go by between the clocks.
        for number, clock in enumerate(("+3h", "-3h", "+0")):
            done = cluster.run("health-check", "--json", data=f"machine-{number}", clock=clock)
            assert done.returncode == 1 and json.loads(done.stdout)["hosts_by_state"]["active"] == 1
        told = [line for (line,) in postgres.shared().ask("SELECT line FROM alerts", cluster.database_url)]
        assert [json.loads(line)["symptom"] for line in told].count("unstamped") == 1
        ready = cluster.receivers[1].request("GET", "/v1/ready").json
        assert ready == {"status": "ready", "warnings": []}
    finally:
        cluster.end()


def test_a_receiver_too_far_from_the_store_says_so(tmp_path: Path, tool: Callable[[str], str]) -> None:
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), postgres.shared().migrated())
    receiver = cluster.receivers[0]
    try:
        receiver.start(tool("faketime"), "-f", "+5h")
        answer = receiver.put("lab-1", "e", make_episode(1, size=3000))
        assert (answer.status, answer.json["code"]) == (503, "store-unavailable")
        assert "kind=RequestTimeTooSkewed" in receiver.log_text() and "clock-apart" in receiver.log_text()
        assert receiver.request("GET", "/v1/ready").json["reasons"] == ["store-unavailable"]
    finally:
        receiver.end()


def test_a_standby_whose_clock_is_days_ahead_takes_over_and_nothing_is_lost(tmp_path: Path) -> None:
    pair = Pair(clock="+50h")
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), pair.migrated())
    receiver = cluster.receivers[0]
    try:
        cluster.start()
        episode = make_episode(1, size=3000)
        path = create(receiver, episode)
        assert send(receiver, path, 0, episode.data[:1000]).status == 204
        shipping = Shipping(cluster)
        with shipping.going_on():
            shipping.wait_for(50)
            pair.switch()
            # All uploads that are under way seem to be days old.
            assert cluster.run("collect", "--json").returncode == 0
            shipping.wait_for(len(shipping.trial.acknowledged) + 50)
        # One who was collected under way was told so, and came again.
        shipping.check({0, 200, 201, 409, 500, 503})
        assert shipping.trial.lost == []
        assert offset_of(receiver, path) == 1000
        assert send(receiver, path, 1000, episode.data[1000:]).headers["X-Episode-Status"] == "stored"
        [(apart,)] = pair.primary.ask("SELECT extract(epoch FROM clock_timestamp())")
        assert float(apart) - time.time() > 49 * 3600
    finally:
        cluster.end()
        pair.remove()

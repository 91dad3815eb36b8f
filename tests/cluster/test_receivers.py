"""Receivers on many machines, over HTTP: real gunicorn, real PostgreSQL, real object stores."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.running import RECEIVERS, Cluster
from tests.integration.test_uploads import create, offset_of, send
from tests.support import objects, postgres
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver

pytestmark = pytest.mark.slow

LARGE = bytes(range(251)) * 80_000


@pytest.fixture(params=["seaweedfs", "rclone"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, objects.shared(request.param), postgres.shared().migrated())
    made.start()
    yield made
    made.end()


def put(receiver: Receiver, name: str, data: bytes) -> int:
    digest = hashlib.sha256(data).hexdigest()
    answer = receiver.request(
        "PUT", f"/v1/episodes/lab-1/{name}.tar.zst", body=data, headers=AUTH | {"X-Content-SHA256": digest}
    )
    return answer.status


def test_what_one_receiver_took_every_receiver_has(cluster: Cluster) -> None:
    one, two = cluster.receivers
    assert two.request("GET", "/v1/ready").status == 200
    assert put(one, "small", b"small") == 201
    assert put(two, "large", LARGE) == 201
    assert put(two, "small", b"small") == 200 and put(two, "small", b"other") == 409
    assert put(one, "large", LARGE) == 200 and put(one, "large", LARGE + b"!") == 409
    for receiver in cluster.receivers:
        listed = receiver.request("GET", "/v1/episodes", headers=AUTH).json["episodes"]
        assert sorted(episode["episode_id"] for episode in listed) == ["large", "small"]
        answer = receiver.request("GET", "/v1/episodes/lab-1/large.tar.zst", headers=AUTH)
        assert answer.status == 200 and answer.body == LARGE
        part = receiver.request(
            "GET", "/v1/episodes/lab-1/large.tar.zst", headers=AUTH | {"Range": "bytes=9000000-9000009"}
        )
        assert part.status == 206 and part.body == LARGE[9000000:9000010]
    index = [receiver.request("GET", "/v1/index.jsonl", headers=AUTH) for receiver in cluster.receivers]
    assert index[0].body == index[1].body and index[0].body.count(b"\n") == 2
    for header in ("ETag", "X-Index-Generation", "Last-Modified"):
        assert index[0].headers[header] == index[1].headers[header]


def test_of_all_that_send_one_name_one_is_told_that_it_is_stored(cluster: Cluster) -> None:
    told: list[tuple[int, int]] = []

    def send(number: int) -> None:
        told.append((put(cluster.receivers[number % RECEIVERS], "e", b"%d" % number * 1000), number))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in told) == [201] + [409] * 15
    (won,) = [number for status, number in told if status == 201]
    answer = cluster.receivers[0].request("GET", "/v1/episodes/lab-1/e.tar.zst", headers=AUTH)
    assert answer.body == b"%d" % won * 1000


def test_a_killed_receiver_takes_nothing_with_it_and_commands_run_anywhere(cluster: Cluster) -> None:
    one, two = cluster.receivers
    for number in range(10):
        assert put(one, f"e{number}", b"%d" % number) == 201
    one.kill()
    assert put(two, "e1", b"1") == 200 and put(two, "e10", b"10") == 201
    assert cluster.run("withdraw", "lab-1/e3", "--why", "spoilt").returncode == 0
    assert len(two.request("GET", "/v1/episodes", headers=AUTH).json["episodes"]) == 10
    for command in ("verify --json", "reindex --json", "stats --json", "export", "uploads --json"):
        done = cluster.run(*command.split())
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    # Each alert once, however many machines look.
    for number in range(2):
        assert cluster.run("health-check", "--json", data=f"machine-{number}").returncode == 1
    told = postgres.shared().ask("SELECT line FROM alerts", cluster.database_url)
    assert [json.loads(line)["symptom"] for (line,) in told] == ["unstamped"]
    made = cluster.run("release", "create", "r1", "--why", "a paper")
    assert made.returncode == 0, made.stderr
    frozen = two.request("GET", "/v1/releases/r1.jsonl", headers=AUTH)
    assert frozen.status == 200 and frozen.body.count(b"\n") == 10
    assert b'"e3"' not in frozen.body


def test_another_receiver_goes_on_with_an_upload_in_pieces(cluster: Cluster) -> None:
    one, two = cluster.receivers
    episode = make_episode(1, size=20_000_001)
    path = create(one, episode)
    half = len(episode.data) // 2
    assert send(one, path, 0, episode.data[:half]).status == 204
    one.kill()
    assert offset_of(two, path) == half
    last = send(two, path, half, episode.data[half:])
    assert (last.status, last.headers["X-Episode-Status"]) == (204, "stored")
    stored = two.request("GET", "/v1/episodes/lab-1/run-1.tar.zst", headers=AUTH)
    assert stored.body == episode.data
    assert not postgres.shared().ask("SELECT * FROM uploading", cluster.database_url)


def test_while_the_database_is_away_it_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    server = postgres.Server()
    try:
        cluster = Cluster(tmp_path, objects.shared("seaweedfs"), server.migrated())
        receiver = cluster.receivers[0]
        receiver.start()
        assert put(receiver, "before", b"before") == 201
        server.kill()
        for method, path in (("GET", "/v1/episodes"), ("GET", "/v1/index.jsonl"), ("GET", "/v1/hosts")):
            answer = receiver.request(method, path, headers=AUTH)
            assert (answer.status, answer.json["code"]) == (503, "database-unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        assert put(receiver, "meanwhile", b"meanwhile") == 503
        # The first ones waited; now nobody does.
        began = time.monotonic()
        ready = receiver.request("GET", "/v1/ready")
        assert time.monotonic() - began < 1
        assert ready.status == 503 and "database-unavailable" in ready.json["reasons"]
        # One that starts meanwhile is to be started again, and not to be given up (RestartPreventExitStatus=2).
        other = cluster.receivers[1]
        with pytest.raises(RuntimeError, match="the database cannot be used"):
            other.start()
        assert other.process is not None and other.process.returncode == 1
        server.start()
        other.start()
        other.end()
        assert put(receiver, "meanwhile", b"meanwhile") == 201
        assert put(receiver, "before", b"before") == 200
        assert receiver.request("GET", "/v1/ready").status == 200
        receiver.end()
    finally:
        server.remove()


def test_what_died_with_its_receiver_is_collected_and_nothing_else(cluster: Cluster) -> None:
    one, two = cluster.receivers
    assert put(one, "kept", b"kept") == 201
    # A receiver that was killed in the middle of an upload, two days ago.
    connection = one.connect()
    head = AUTH | {"X-Content-SHA256": "0" * 64, "Content-Length": "100000000"}
    connection.putrequest("PUT", "/v1/episodes/lab-1/broken.tar.zst")
    for name, value in head.items():
        connection.putheader(name, value)
    connection.endheaders(b"some of it")
    ask = "SELECT object_key FROM uploading"
    while not (noted := postgres.shared().ask(ask, cluster.database_url)):
        pass
    one.kill()
    connection.close()
    assert cluster.run("collect", "--older-than", "2h").returncode == 2
    assert json.loads(cluster.run("collect", "--json").stdout) == {"deleted": 0, "failed": 0}
    postgres.shared().ask("UPDATE uploading SET noted_at = now() - interval '2 days'", cluster.database_url)
    assert json.loads(cluster.run("collect", "--json").stdout) == {"deleted": 1, "failed": 0}
    # Two days after that it is deleted once more, in case that its receiver was merely slow.
    assert noted and postgres.shared().ask(ask, cluster.database_url) == noted
    postgres.shared().ask(
        "UPDATE uploading SET given_up_at = now() - interval '2 days'", cluster.database_url
    )
    assert json.loads(cluster.run("collect", "--json").stdout) == {"deleted": 0, "failed": 0}
    assert not postgres.shared().ask(ask, cluster.database_url)
    assert json.loads(cluster.run("collect", "--orphans", "--json").stdout) == {"orphans": []}
    assert two.request("GET", "/v1/episodes/lab-1/kept.tar.zst", headers=AUTH).body == b"kept"

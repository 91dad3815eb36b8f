"""Commits of which it is not known whether they were made, or which only the primary has."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cis490_receiver.postgres.pool import MAX_CONNECTIONS
from tests.cluster.running import Cluster
from tests.cluster.shipping import Shipping
from tests.integration.test_uploads import create, head, offset_of, send
from tests.support import objects, postgres
from tests.support.archives import make_episode
from tests.support.failover import Pair
from tests.support.losing import LosingProxy
from tests.support.receiver import AUTH, Receiver

pytestmark = pytest.mark.slow

EPISODE = b"an episode" * 100


@contextlib.contextmanager
def cancelling(server: postgres.Server) -> Iterator[None]:
    """Break off every wait for the standby during the block, as an administrator or a time limit does."""
    done = threading.Event()

    def cancel() -> None:
        while not done.wait(0.02):
            server.ask("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def put(receiver: Receiver, name: str, data: bytes) -> int:
    headers = AUTH | {"X-Content-SHA256": hashlib.sha256(data).hexdigest()}
    return receiver.request("PUT", f"/v1/episodes/lab-1/{name}.tar.zst", data, headers).status


def begin(receiver: Receiver, name: str, data: bytes) -> http.client.HTTPConnection:
    """Send half of a PUT."""
    connection = receiver.connect()
    connection.putrequest("PUT", f"/v1/episodes/lab-1/{name}.tar.zst")
    head = {"X-Content-SHA256": hashlib.sha256(data).hexdigest(), "Content-Length": str(len(data))}
    for word, value in (AUTH | head).items():
        connection.putheader(word, value)
    connection.endheaders(data[: len(data) // 2])
    return connection


def test_what_only_the_primary_has_is_vouched_for_by_nobody(tmp_path: Path) -> None:
    pair = Pair()
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), pair.migrated())
    receiver, stack = cluster.receivers[0], contextlib.ExitStack()
    try:
        receiver.start()
        assert put(receiver, "before", b"before") == 201
        episode = make_episode(1, size=3000)
        path = create(receiver, episode)
        assert send(receiver, path, 0, episode.data[:1000]).status == 204
        # Its note is safe, and its record will not be.
        begun = stack.enter_context(contextlib.closing(begin(receiver, "e", EPISODE)))
        while not pair.standby.ask("SELECT 1 FROM pair.uploading"):
            pass
        pair.detach()
        with cancelling(pair.primary):
            begun.send(EPISODE[len(EPISODE) // 2 :])
            assert begun.getresponse().status == 503
            # The primary has it, and will not for long: neither that it is there may be told, nor that it is another.
            rows = pair.primary.ask("SELECT episode_id FROM pair.episodes WHERE object_key IS NOT NULL")
            assert {"e", "before"} <= {name for (name,) in rows}
            assert [put(receiver, "e", data) for data in (EPISODE, b"other", EPISODE)] == [503] * 3
            # Whoever could not let it go has it for some seconds.
            pieces = [send(receiver, path, 1000, episode.data[1000:]).status for _ in range(2)]
            assert set(pieces) <= {503, 423}
            assert "X-Episode-Status" not in head(receiver, path).headers
            for listing in ("/v1/index.jsonl", "/v1/episodes"):
                shown = receiver.request("GET", listing, headers=AUTH)
                assert shown.status == 200
                assert b'"before"' in shown.body and b'"e"' not in shown.body
        pair.switch()
        assert [put(receiver, "e", data) for data in (b"other", b"other", EPISODE)] == [201, 200, 409]
        assert put(receiver, "before", b"before") == 200
        offset = offset_of(receiver, path)
        assert send(receiver, path, offset, episode.data[offset:]).headers["X-Episode-Status"] == "stored"
        index = receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body
        assert index.count(b"\n") == 3
    finally:
        stack.close()
        receiver.end()
        pair.remove()


def test_without_a_standby_every_read_goes_on_and_all_receivers_show_the_same(tmp_path: Path) -> None:
    pair = Pair()
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), pair.migrated())
    writers = []
    try:
        cluster.start()
        receiver = cluster.receivers[0]
        assert put(receiver, "before", b"before") == 201
        before = [one.request("GET", "/v1/index.jsonl", headers=AUTH) for one in cluster.receivers]
        pair.detach()
        # More than a process has connections for, at each receiver.
        for number in range(2 * (MAX_CONNECTIONS + 2)):
            one = cluster.receivers[number % len(cluster.receivers)]
            writers.append(threading.Thread(target=put, args=(one, f"e{number}", EPISODE)))
            writers[-1].start()
        waiting = (
            f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT {len(cluster.receivers)}"
        )
        while len(pair.primary.ask(waiting)) < len(cluster.receivers):
            time.sleep(0.05)
        # While they wait, and when some have given up, so that what only the primary has can be seen.
        some = "SELECT 1 FROM pair.uploading WHERE episode_id <> 'before'"
        for seen in (lambda: True, lambda: bool(pair.primary.ask(some))):
            while not seen():
                time.sleep(0.1)
            for one, was in zip(cluster.receivers, before, strict=True):
                for path in (
                    "/v1/episodes/lab-1/before.tar.zst",
                    "/v1/hosts",
                    "/v1/episodes?limit=5",
                    "/metrics",
                ):
                    begun = time.monotonic()
                    assert one.request("GET", path, headers=AUTH).status == 200, path
                    assert time.monotonic() - begun < 8, path
                now = one.request("GET", "/v1/index.jsonl", headers=AUTH)
                assert (now.body, now.headers["ETag"]) == (was.body, was.headers["ETag"])
        for writer in writers:
            writer.join()
        pair.switch()
        for one in cluster.receivers:
            while put(one, "after", EPISODE) not in (201, 200):
                time.sleep(0.1)
            assert one.request("GET", "/v1/index.jsonl", headers=AUTH).body.count(b"\n") >= 2
    finally:
        for writer in writers:
            writer.join()
        cluster.end()
        pair.remove()


def test_commits_and_their_answers_are_lost_and_nothing_else(tmp_path: Path) -> None:
    server = postgres.shared()
    url = server.migrated()
    proxy = LosingProxy(server)
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), proxy.url(url))
    try:
        cluster.start()
        proxy.every = 4
        shipping = Shipping(cluster)
        with shipping.going_on():
            shipping.wait_for(150)
        # A request makes several commits, each of which is tried twice.
        episode, receiver = make_episode(1, size=30_000), cluster.receivers[0]
        proxy.every = 0
        path = create(receiver, episode)
        proxy.every = 3
        for _ in range(50):
            proxied = head(receiver, path)
            if proxied.headers.get("X-Episode-Status"):
                break
            if proxied.status == 200:
                offset = int(proxied.headers["Upload-Offset"])
                send(receiver, path, offset, episode.data[offset : offset + 7000])
        proxy.every = 0
        assert head(receiver, path).headers["X-Episode-Status"] == "stored"
        shipping.check()
        assert shipping.trial.lost == []
        assert min(proxy.lost) > 20
        index = receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body
        assert index.count(b'"run-1"') == 1
    finally:
        cluster.end()
        proxy.close()


def test_a_writer_slower_than_the_collector_is_told_so_and_may_come_again(tmp_path: Path) -> None:
    server = postgres.shared()
    url = server.migrated()
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), url)
    receiver = cluster.receivers[0]
    try:
        receiver.start()
        with contextlib.closing(begin(receiver, "slow", EPISODE)) as begun:
            while not server.ask("SELECT 1 FROM uploading", url):
                pass
            server.ask("UPDATE uploading SET noted_at = now() - interval '2 days'", url)
            assert json.loads(cluster.run("collect", "--json").stdout) == {"deleted": 1, "failed": 0}
            begun.send(EPISODE[len(EPISODE) // 2 :])
            answer = begun.getresponse()
            assert answer.status == 500 and answer.headers["Retry-After"]
            assert b"send it again" in answer.read()
        assert receiver.request("GET", "/v1/index.jsonl", headers=AUTH).body == b""
        assert put(receiver, "slow", EPISODE) == 201
        stored = receiver.request("GET", "/v1/episodes/lab-1/slow.tar.zst", headers=AUTH)
        assert stored.body == EPISODE
    finally:
        receiver.end()

"""Releases of receivers on many machines, over HTTP and by commands that run anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from tests.cluster.test_receivers import Cluster, put
from tests.support import objects, postgres
from tests.support.receiver import AUTH, Answer, Receiver

pytestmark = pytest.mark.slow

EPISODES = 5


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, objects.shared("seaweedfs"), postgres.shared().migrated())
    for receiver in made.receivers:
        receiver.start()
    for number in range(EPISODES):
        assert put(made.receivers[0], f"e{number}", b"%d" % number) == 201
    yield made
    for receiver in made.receivers:
        receiver.end()


def get(receiver: Receiver, method: str = "GET", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return receiver.request(method, "/v1/releases/r1.jsonl", headers=AUTH | given)


def test_a_release_is_made_anywhere_and_served_everywhere_and_says_when_its_table_is_gone(
    cluster: Cluster, tmp_path: Path
) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        done = cluster.run(*arguments)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done.stdout

    made = json.loads(run("release", "create", "r1", "--json"))
    assert json.loads(run("release", "create", "r1", "--json", status=1))["code"] == "release-exists"
    run("withdraw", "lab-1/e3", "--why", "spoilt")
    run("release", "create", "r2")
    for receiver in cluster.receivers:
        whole = get(receiver)
        assert whole.status == 200 and hashlib.sha256(whole.body).hexdigest() == made["sha256"]
        assert whole.headers["ETag"] == f'"{made["sha256"]}"' and whole.headers["X-Withdrawn-Since"] == "1"
        digest = base64.b64encode(hashlib.sha256(whole.body).digest()).decode()
        assert whole.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        part = get(receiver, Range="bytes=-100")
        assert (part.status, part.body) == (206, whole.body[-100:])
        head = get(receiver, "HEAD")
        assert (head.headers["Content-Length"], head.body) == (str(len(whole.body)), b"")
        assert get(receiver, If_None_Match=whole.headers["ETag"]).status == 304
        assert get(receiver, Range="bytes=99999-").status == 416
        listed = receiver.request("GET", "/v1/releases", headers=AUTH).json["releases"]
        assert [(one["name"], one["withdrawn_since"]) for one in listed] in (
            [("r1", 1), ("r2", 0)],
            [("r2", 0), ("r1", 1)],
        )
    shown = json.loads(run("release", "show", "r1", "--json"))
    assert [one["episode_id"] for one in shown["withdrawn"]] == ["e3"]
    assert json.loads(run("release", "verify", "r1", "--json"))["checked"] == EPISODES
    assert json.loads(run("release", "diff", "r1", "r2", "--json"))["removed"] == 1
    token, copy = tmp_path / "token", tmp_path / "copy"
    token.write_text(AUTH["Authorization"].removeprefix("Bearer "))
    token.chmod(0o600)
    address = f"http://127.0.0.1:{cluster.receivers[1].port}"
    run("mirror", address, str(copy), "--release", "r1", "--token-file", str(token))
    assert hashlib.sha256((copy / "releases/r1.jsonl").read_bytes()).hexdigest() == made["sha256"]

    [(object_key,)] = postgres.shared().ask(
        "SELECT object_key FROM releases WHERE name = 'r1'", cluster.database_url
    )
    ObjectClient(ObjectsConfig(objects.BUCKET, "", objects.shared("seaweedfs").options())).delete(object_key)
    gone = get(cluster.receivers[0])
    assert (gone.status, gone.json["code"]) == (500, "release-damaged")
    assert json.loads(run("release", "verify", "r1", "--json", status=1))["code"] == "release-damaged"
    assert "r1" in run("release", "list")

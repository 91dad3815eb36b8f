"""``cis490-receiver doctor-cluster`` on real databases and stores, each thing seen to be found well and not well."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from cis490_receiver.storage.signed_requests import SignedRequests
from tests.cluster.running import Cluster
from tests.support import objects, postgres

pytestmark = pytest.mark.slow

RULE = """<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>tidy</ID>
<Status>{status}</Status><Filter><Prefix>{prefix}</Prefix></Filter>{what}</Rule></LifecycleConfiguration>"""
EXPIRES = "<Expiration><Days>30</Days></Expiration>"
ABORTS = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>8</DaysAfterInitiation></AbortIncompleteMultipartUpload>"


def found_by(cluster: Cluster, *, status: int) -> dict[str, dict[str, str]]:
    done = cluster.run("doctor-cluster", "--json")
    assert done.returncode == status, (done.stdout, done.stderr)
    told = json.loads(done.stdout)
    assert told["ok"] is (status == 0)
    return {finding["name"]: finding for finding in told["findings"]}


def verdicts(cluster: Cluster, *, status: int) -> dict[str, str]:
    return {name: finding["verdict"] for name, finding in found_by(cluster, status=status).items()}


def requests_to(cluster: Cluster, server: objects.Server) -> SignedRequests:
    return SignedRequests(ObjectsConfig(objects.BUCKET, "", server.options()), seconds=10)


def set_rule(requests: SignedRequests, rule: str) -> None:
    digest = base64.b64encode(hashlib.md5(rule.encode()).digest()).decode()
    headers = {"content-md5": digest}
    assert requests.send("PUT", query={"lifecycle": ""}, body=rule.encode(), headers=headers).is_good


def test_all_is_well_and_nothing_is_left_behind(tmp_path: Path) -> None:
    server = objects.shared("seaweedfs")
    cluster = Cluster(tmp_path, server, postgres.shared().migrated())
    before = server.unfinished_uploads()
    found = verdicts(cluster, status=0)
    # The tests' role owns everything, and their database has no standby.
    weaker = {"database: role", "database: standby"}
    assert {name for name, verdict in found.items() if verdict != "ok"} == weaker and len(found) > 15
    client = ObjectClient(ObjectsConfig(objects.BUCKET, tmp_path.name, server.options()))
    assert objects.names(client) == [] and server.unfinished_uploads() == before
    for_people = cluster.run("doctor-cluster")
    assert for_people.stdout.endswith("a receiver can be started; 2 could be better\n")


def test_a_store_that_honours_nothing_is_told_and_will_do(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, objects.shared("rclone"), postgres.shared().migrated())
    found = found_by(cluster, status=0)
    assert found["store: checksums"]["verdict"] == found["store: reading"]["verdict"] == "weaker"
    assert "not honoured" in found["store: conditions"]["says"]
    assert found["store: lifecycle"]["verdict"] == "unknown"


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[tuple[Cluster, SignedRequests]]:
    server = objects.shared("seaweedfs")
    cluster = Cluster(tmp_path, server, postgres.shared().migrated())
    requests = requests_to(cluster, server)
    yield cluster, requests
    cluster.end()
    requests.send("DELETE", query={"lifecycle": ""})


def test_rules_that_would_eat_episodes_are_refused_and_no_receiver_starts(
    ruled: tuple[Cluster, SignedRequests], tmp_path: Path
) -> None:
    cluster, requests = ruled
    prefix = f"{tmp_path.name}/"
    for rule, verdict in (
        (RULE.format(status="Enabled", prefix=prefix, what=EXPIRES), "refused"),
        (RULE.format(status="Enabled", prefix="", what=EXPIRES), "refused"),
        (RULE.format(status="Enabled", prefix=f"{prefix}lab-1/", what=EXPIRES), "refused"),
        (RULE.format(status="Disabled", prefix=prefix, what=EXPIRES), "ok"),
        (RULE.format(status="Enabled", prefix="others/", what=EXPIRES), "ok"),
        (RULE.format(status="Enabled", prefix=prefix, what=ABORTS), "ok"),
    ):
        set_rule(requests, rule)
        found = found_by(cluster, status=verdict == "refused")
        assert found["store: lifecycle"]["verdict"] == verdict, rule
    set_rule(requests, RULE.format(status="Enabled", prefix=prefix, what=EXPIRES))
    receiver = cluster.receivers[0]
    with pytest.raises(RuntimeError, match="the rule tidy deletes objects after 30 days"):
        receiver.start()
    requests.send("DELETE", query={"lifecycle": ""})
    receiver.start()


def test_what_is_away_and_what_lets_nobody_in_is_said(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, objects.shared("seaweedfs"), postgres.shared().migrated())
    good: dict[str, Any] = dict(cluster.settings)
    cluster.settings["objects_endpoint"] = f"http://127.0.0.1:{objects.free_ports(1)[0]}"
    assert verdicts(cluster, status=1)["store: reachable"] == "refused"
    wrong = tmp_path / "wrong"
    wrong.write_text("[default]\naws_access_key_id = EPISODES\naws_secret_access_key = guessed\n")
    cluster.settings = good | {"objects_credentials_file": wrong}
    found = verdicts(cluster, status=1)
    assert found["store: reachable"] == "refused" and "store: speed" not in found
    cluster.settings = good | {"database_url": "postgresql://nobody@127.0.0.1:9/x"}
    found = verdicts(cluster, status=1)
    assert found["database"] == "refused" and found["store: speed"] == "ok"


def test_a_standby_that_is_not_there_and_a_role_of_its_own(tmp_path: Path) -> None:
    server = postgres.Server()
    try:
        url = server.migrated()
        server.ask("CREATE ROLE receiver LOGIN")
        cluster = Cluster(tmp_path, objects.shared("seaweedfs"), url)
        done = cluster.run("migrate-schema", "--grant", "receiver")
        assert done.returncode == 0, done.stderr
        as_receiver = url.replace("user=owner", "user=receiver")
        cluster.settings["database_url"] = as_receiver
        assert verdicts(cluster, status=0)["database: role"] == "ok"
        server.ask("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (b)'")
        server.ask("SELECT pg_reload_conf()")
        while server.ask("SHOW synchronous_standby_names") != [("ANY 1 (b)",)]:
            pass
        found = verdicts(cluster, status=0)
        assert found["database: standby"] == "unknown" and "database: speed" not in found
        cluster.settings["database_url"] = url
        assert verdicts(cluster, status=1)["database: standby"] == "refused"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(b"SET synchronous_commit = local")
            connection.execute(b"ALTER ROLE receiver SET synchronous_commit = off")
        cluster.settings["database_url"] = as_receiver
        assert verdicts(cluster, status=1)["database"] == "refused"
    finally:
        server.remove()

"""``/metrics``: right whichever worker answers, and after one died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import need
from tests.gate import snapshots
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment, put_headers

#: What the contract names; the gate's are there when it is on, the monitor's when it ran.
GATE = {"cis490_gate_age_seconds", "cis490_gate_commits"}
MONITOR = {"cis490_symptoms", "cis490_health_check_age_seconds"}
ALWAYS = {
    "cis490_uploads",
    "cis490_upload_bytes",
    "cis490_upload_seconds",
    "cis490_uploads_in_flight",
    "cis490_refusals",
    "cis490_episodes",
    "cis490_episode_bytes",
    "cis490_last_episode_timestamp_seconds",
    "cis490_free_bytes",
    "cis490_reserve_bytes",
    "cis490_index_bad_lines",
    "cis490_resumable_uploads",
    "cis490_resumable_missing_bytes",
}

Values = dict[tuple[str, str], float]


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(text: str) -> Values:
    """Each sample by its name and the value of its only label, if any."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def scrape(receiver: Receiver) -> str:
    answer = receiver.request("GET", "/metrics", headers=AUTH)
    assert answer.status == 200
    return answer.body.decode()


def answers_of_both(receiver: Receiver) -> Iterator[Values]:
    """What the receiver says, asked on connections at once, so that both workers answer."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(receiver.connect())) for _ in range(16)]
        for connection in connections:
            connection.request("GET", "/metrics", headers=AUTH)
        for connection in connections:
            yield values(connection.getresponse().read().decode())


def counters(found: Values) -> Values:
    return {
        key: value for key, value in found.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))
    }


def test_each_upload_is_counted_once_whoever_took_it(receiver: Receiver) -> None:
    for number in range(12):
        assert receiver.put("lab-1", f"e{number}", make_episode(number)).status == 201
    assert receiver.put("lab-1", "e0", make_episode(0)).status == 200
    assert receiver.put("lab-1", "e0", make_episode(1)).status == 409
    assert receiver.put("lab-2", "e0", make_episode(1), X_Content_SHA256="0" * 64).status == 400
    assert receiver.put("lab-2", "e0", make_episode(1), Authorization="Bearer no").status == 401
    for said in answers_of_both(receiver):
        assert said["cis490_uploads_total", "stored"] == 12
        assert said["cis490_uploads_total", "already-present"] == 1
        assert said["cis490_uploads_total", "refused"] == 3
        assert said["cis490_uploads_total", "failed"] == 0
        refusals = {
            code: count for (name, code), count in said.items() if name == "cis490_refusals_total" and count
        }
        assert refusals == {"conflict": 1, "sha-mismatch": 1, "bad-bearer-token": 1}
        assert said["cis490_upload_seconds_count", ""] == said["cis490_upload_seconds_bucket", "+Inf"] == 12
        assert 0 < said["cis490_upload_seconds_sum", ""] < 60
        assert said["cis490_episodes", "lab-1"] == 12
        assert ("cis490_episodes", "lab-2") not in said, "a host without an episode"
        assert said["cis490_uploads_in_flight", ""] == 0
        stored = sum(len(make_episode(number).data) for number in range(12))
        assert said["cis490_episode_bytes", "lab-1"] == stored
        assert said["cis490_upload_bytes_total", ""] >= stored + len(make_episode(1).data)
        assert abs(said["cis490_last_episode_timestamp_seconds", "lab-1"] - time.time()) < 60


def test_a_killed_worker_takes_no_count_along_and_leaves_nothing_in_flight(receiver: Receiver) -> None:
    archive = make_episode(1, size=1 << 20)
    before: Values = {}
    for turn in range(4):
        assert receiver.put("lab-1", f"e{turn}", make_episode(turn)).status == 201
        with contextlib.closing(receiver.raw()) as half:
            head = "".join(f"{name}: {value}\r\n" for name, value in put_headers(archive).items())
            length = len(archive.data)
            line = f"PUT /v1/episodes/lab-2/e.tar.zst HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
            half.sendall(f"{line}{head}\r\n".encode() + archive.data[: length // 2])
            wait_for(receiver, lambda said: said["cis490_uploads_in_flight", ""] == 1)
            during = counters(values(scrape(receiver)))
            # The one that has the upload is among them.
            for pid in receiver.worker_pids():
                os.kill(pid, signal.SIGKILL)
            after = wait_for(receiver, lambda said: said["cis490_uploads_in_flight", ""] == 0)
        assert during.keys() == counters(after).keys()
        assert all(after[key] >= value for key, value in (before | during).items())
        assert after["cis490_uploads_total", "stored"] == turn + 1
        before = counters(after)


def wait_for(receiver: Receiver, holds: Any) -> Values:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            said = values(scrape(receiver))
            if holds(said):
                return said
    raise AssertionError(f"it never came: {said}")


def test_a_body_is_counted_while_it_comes(receiver: Receiver) -> None:
    archive = make_episode(1, size=8 << 20)
    connection = receiver.connect()
    with contextlib.closing(connection):
        connection.putrequest("PUT", "/v1/episodes/lab-1/e.tar.zst")
        for name, value in put_headers(archive, Content_Length=str(len(archive.data))).items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(archive.data[: len(archive.data) // 2])
        wait_for(receiver, lambda said: said["cis490_upload_bytes_total", ""] >= 1 << 20)
        connection.send(archive.data[len(archive.data) // 2 :])
        assert connection.getresponse().status == 201
    assert values(scrape(receiver))["cis490_upload_bytes_total", ""] == len(archive.data)


def test_the_names_are_the_contracts_and_promtool_takes_them(start_receiver: Any, tmp_path: Path) -> None:
    receiver: Receiver = start_receiver(gate_enabled="true", health_dir="host-health")
    assert families(scrape(receiver)).keys() == ALWAYS
    snapshots.write(receiver.data_dir, snapshots.make_snapshot(1, 2, 3, age_seconds=2 * 86400))
    environment = clean_environment(**receiver.settings)
    look = [str(BIN / "cis490-receiver"), "health-check", "--json"]
    done = subprocess.run(look, env=environment, stdout=subprocess.PIPE)
    assert done.returncode == 1
    symptoms = {item["symptom"] for item in json.loads(done.stdout)["symptoms"]}
    assert "gate-stale" in symptoms
    # Each worker looks at the list by itself, after a moment.
    while "cis490_gate_commits" not in (text := scrape(receiver)):
        time.sleep(0.1)
    said = values(text)
    assert families(text).keys() == ALWAYS | GATE | MONITOR
    assert said["cis490_gate_commits", ""] == 3
    assert abs(said["cis490_gate_age_seconds", ""] - 2 * 86400) < 60
    assert {
        name for (family, name), count in said.items() if family == "cis490_symptoms" and count
    } == symptoms
    kinds = {family.name: family.type for family in families(text).values()}
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        "cis490_uploads", "cis490_upload_bytes", "cis490_refusals",
    }  # fmt: skip
    assert all(family.documentation for family in families(text).values())
    checked = subprocess.run(
        [need("promtool"), "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_reload_begins_no_count_anew(receiver: Receiver) -> None:
    assert receiver.put("lab-1", "e1", make_episode(1)).status == 201
    assert receiver.process is not None
    before = set(receiver.worker_pids())
    receiver.process.send_signal(signal.SIGHUP)
    wait_for(
        receiver, lambda said: len(receiver.worker_pids()) == 2 and not before & set(receiver.worker_pids())
    )
    assert receiver.put("lab-1", "e2", make_episode(2)).status == 201
    for said in answers_of_both(receiver):
        assert said["cis490_uploads_total", "stored"] == 2

"""Hosts that are dead for longer than the look-back, over what the real receiver stored by a moved clock."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.models import wall_time
from tests.support.archives import make_episode
from tests.support.receiver import BIN, Receiver

COMMAND = str(BIN / "cis490-receiver")
COMMIT = {"X_Cis490_Code_Commit": "a" * 40}
EPISODE = make_episode(1)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(receiver: Receiver, tmp_path: Path) -> Run:
    environ = {
        "CIS490_DATA_DIR": str(receiver.data_dir),
        "CIS490_SYSLOG_ADDRESS": str(tmp_path / "log.sock"),
        "CIS490_DISK_RESERVE_BYTES": "0",
    }

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        whole = environ | (env or {})
        return subprocess.run([COMMAND, *arguments], env=whole, capture_output=True, text=True, timeout=60)

    return run


def age(receiver: Receiver, hours: float, *hosts: str) -> None:
    """Make the episodes of `hosts` so many hours older, as if the receiver had taken them then."""
    lines = receiver.index()
    for line in lines:
        if line["host_id"] in hosts:
            line["received_at_ns"] -= int(hours * 3600e9)
            line["received_at_wall"] = wall_time(line["received_at_ns"])
    path = receiver.data_dir / "index.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def found(done: subprocess.CompletedProcess[str]) -> set[tuple[str, str]]:
    return {(item["host_id"], item["symptom"]) for item in json.loads(done.stdout)["symptoms"]}


def test_a_dead_fleet_is_not_well(receiver: Receiver, run: Run) -> None:
    hosts = [f"lab-{number}" for number in range(5)]
    for host in hosts:
        assert receiver.put(host, "e", EPISODE, **COMMIT).status == 201
    age(receiver, 24.01, *hosts)
    first = run("health-check", "--json")
    assert first.returncode == 1
    assert found(first) == {(host, "gone") for host in hosts}
    answer = json.loads(first.stdout)
    assert answer["fleet_gone"] is True and answer["hosts_by_state"]["gone"] == 5
    assert len(answer["new_alerts"]) == 5
    again = run("health-check")
    assert again.returncode == 1
    assert "the whole fleet is gone" in again.stdout
    assert (
        again.stdout.splitlines()[-1]
        == "5 hosts (5 gone), 5 of 5 episodes looked at; 5 symptoms, 0 new alerts"
    )
    assert run("health-check", "--quiet").stdout == ""

    assert receiver.put("lab-0", "e2", EPISODE, **COMMIT).status == 201
    back = json.loads(run("health-check", "--json").stdout)
    assert back["new_alerts"] == [{"host_id": "lab-0", "symptom": "gone", "state": "recovered"}]
    assert back["fleet_gone"] is False


def test_a_retired_host_is_left_alone_until_it_ships(receiver: Receiver, run: Run) -> None:
    for host in ("lab-1", "lab-2", "well"):
        receiver.put(host, "e", EPISODE, **COMMIT)
    age(receiver, 100, "lab-1", "lab-2")
    unknown = run("host", "retire", "lab-l", "--why", "sold")
    assert unknown.returncode == 1
    assert unknown.stderr == "cis490-receiver: there is no host lab-l; did you mean lab-2, lab-1?\n"
    told = json.loads(run("host", "retire", "lab-l", "--why", "sold", "--json").stdout)
    assert (told["code"], sorted(told["near"])) == ("unknown-host", ["lab-1", "lab-2"])
    assert run("host", "retire", "no/host", "--why", "x").returncode == 2
    assert run("host", "retire", "lab-1").returncode == 2

    done = run("host", "retire", "lab-1", "--why", "sold")
    assert done.returncode == 0 and done.stdout.startswith("lab-1 is retired; its last episode came 4 d")
    assert run("mute", "lab-2", "--for", "1d", "--why", "new rack").returncode == 0
    checked = run("health-check")
    assert checked.returncode == 0
    assert checked.stdout.splitlines()[-1].startswith(
        "3 hosts (1 active, 1 muted, 1 retired), 3 of 3 episodes looked at; 0 symptoms"
    )
    assert not (receiver.data_dir / "alerts.jsonl").read_text()

    rows = {row["host_id"]: row for row in json.loads(run("host", "list", "--json").stdout)["hosts"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "lab-1": "retired", "lab-2": "muted", "well": "active",
    }  # fmt: skip
    assert rows["lab-1"]["retired_why"] == "sold" and rows["lab-2"]["muted_why"] == "new rack"
    since = dt.datetime.fromisoformat(rows["lab-1"]["retired_at_wall"])
    assert since > dt.datetime.fromisoformat(rows["lab-1"]["last_episode_wall"])
    listed = run("host", "list").stdout.splitlines()
    assert listed[1].startswith("lab-1  retired  ") and listed[1].endswith(": sold")

    # Its next episode undoes the retirement, for good.
    assert receiver.put("lab-1", "e2", EPISODE).status == 201
    assert ("lab-1", "unstamped") in found(run("health-check", "--json"))
    rows = {row["host_id"]: row for row in json.loads(run("host", "list", "--json").stdout)["hosts"]}
    assert (rows["lab-1"]["state"], rows["lab-1"]["retired_at_wall"]) == ("active", None)

    assert run("host", "unretire", "lab-2").stdout == "lab-2 was not retired\n"
    assert run("host", "retire", "lab-2", "--why", "sold").returncode == 0
    assert json.loads(run("host", "unretire", "lab-2", "--json").stdout)["was_retired"] is True
    assert run("host", "unretire", "lab-9").returncode == 1


def test_a_retirement_ends_nothing_that_was_raised(receiver: Receiver, run: Run) -> None:
    receiver.put("lab-1", "e", EPISODE, **COMMIT)
    age(receiver, 100, "lab-1")
    assert run("health-check").returncode == 1
    run("host", "retire", "lab-1", "--why", "sold")
    retired: dict[str, Any] = json.loads(run("health-check", "--json").stdout)
    assert (retired["symptoms"], retired["new_alerts"]) == ([], [])
    run("host", "unretire", "lab-1")
    again = run("health-check", "--json")
    assert again.returncode == 1 and json.loads(again.stdout)["new_alerts"] == []


def test_hosts_that_are_retired_at_once_all_are(receiver: Receiver, run: Run, tmp_path: Path) -> None:
    hosts = [f"lab-{number}" for number in range(6)]
    for host in hosts:
        receiver.put(host, "e", EPISODE, **COMMIT)
    environ = {"CIS490_DATA_DIR": str(receiver.data_dir)}
    running = [
        subprocess.Popen(
            [COMMAND, "host", "retire", host, "--why", "x"], env=environ, stdout=subprocess.DEVNULL
        )
        for host in hosts
    ]
    assert [process.wait(60) for process in running] == [0] * 6
    rows = json.loads(run("host", "list", "--json").stdout)["hosts"]
    assert [row["state"] for row in rows] == ["retired"] * 6


def test_a_receiver_that_nobody_has_shipped_to_says_so(receiver: Receiver, run: Run) -> None:
    done = run("health-check")
    assert (done.returncode, done.stdout) == (0, "nothing is wrong, and no host has shipped yet\n")
    assert run("host", "list").stdout == "no host was seen yet\n"
    assert run("host", "retire", "lab-1", "--why", "x").returncode == 1

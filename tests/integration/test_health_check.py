"""The fleet monitor as cron runs it, over what the real receiver saw at several times of a moved clock."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, Receiver

COMMIT = {"X_Cis490_Code_Commit": "a" * 40}
EPISODE = make_episode(1)


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "log.sock"))
        listener.setblocking(False)
        yield listener


def received(listener: socket.socket) -> list[str]:
    lines = []
    with contextlib.suppress(BlockingIOError):
        while True:
            lines.append(listener.recv(65536).decode())
    return lines


def environment(receiver: Receiver, tmp_path: Path) -> dict[str, str]:
    """What cron gives a job at its worst: no PATH, no HOME."""
    return {
        "CIS490_DATA_DIR": str(receiver.data_dir),
        "CIS490_SYSLOG_ADDRESS": str(tmp_path / "log.sock"),
        "CIS490_DISK_RESERVE_BYTES": "0",
        "PATH": "",
    }


COMMAND = str(BIN / "cis490-receiver")


@pytest.mark.slow
def test_each_alert_once_however_many_run(start_receiver: Any, tmp_path: Path, syslog: socket.socket) -> None:
    faketime = need("faketime")
    receiver: Receiver = start_receiver()
    receiver.stop()

    def at(offset: str, *ships: Any) -> None:
        receiver.start(faketime, "-f", offset)
        for ship in ships:
            ship()
        receiver.kill()

    def stamped(host: str, name: str) -> Any:
        return lambda: receiver.put(host, name, EPISODE, **COMMIT)

    def refused(host: str, name: str) -> Any:
        return lambda: receiver.put(host, name, EPISODE, X_Content_SHA256="b" * 64)

    def stranger() -> None:
        receiver.put("invented", "e", EPISODE, Authorization="Bearer x")

    at("-30h", stamped("gone", "e"))
    at("-2h", stamped("silent", "e"), stamped("fatal", "e0"))
    at("-31m", stamped("quiet", "e"), stamped("repeats", "e"))
    at(
        "+0s",
        stamped("well", "e"),
        stamped("repeats", "e"),
        refused("fatal", "e1"),
        refused("fatal", "e2"),
        refused("mixed", "e1"),
        stamped("mixed", "e2"),
        lambda: receiver.put("bare", "e", EPISODE),
        stranger,
    )
    expected = {
        ("gone", "gone"),
        ("silent", "silent"),
        ("quiet", "silent"),
        ("fatal", "fatal-only"),
        ("bare", "unstamped"),
    }

    environ = environment(receiver, tmp_path)
    command = [COMMAND, "health-check", "--quiet"]
    runs = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    printed = []
    for run in runs:
        out, err = run.communicate(timeout=30)
        assert (run.returncode, err) == (1, "")
        printed += out.splitlines()
    assert subprocess.run(command, env=environ, capture_output=True, text=True).stdout == ""

    lines = [json.loads(line) for line in (receiver.data_dir / "alerts.jsonl").read_text().splitlines()]
    assert sorted((line["host_id"], line["symptom"]) for line in lines) == sorted(expected)
    assert {line["state"] for line in lines} == {"raised"}
    sent = received(syslog)
    assert len(sent) == len(printed) == len(expected)
    for host, symptom in expected:
        [one] = [line for line in sent if f" symptom={symptom} host={host} " in line]
        assert one.startswith("<28>cis490-receiver[") and "\n" not in one  # daemon.warning

    # The silent host comes back: its end is noted, once.
    at("+0s", stamped("silent", "e2"))
    found = subprocess.run([COMMAND, "health-check", "--json"], env=environ, capture_output=True, text=True)
    answer = json.loads(found.stdout)
    assert {(item["host_id"], item["symptom"]) for item in answer["symptoms"]} == expected - {
        ("silent", "silent")
    }
    assert answer["new_alerts"] == [{"host_id": "silent", "symptom": "silent", "state": "recovered"}]
    assert [line.partition(">")[0] for line in received(syslog)] == ["<30"]


def test_a_well_fleet_exits_0_and_leaves_its_mark(receiver: Receiver, tmp_path: Path) -> None:
    environ = environment(receiver, tmp_path)

    def codes() -> list[str]:
        return [item["code"] for item in receiver.request("GET", "/v1/ready").json["warnings"]]

    assert codes() == ["health-check-not-running"]
    receiver.put("well", "e", EPISODE, **COMMIT)
    done = subprocess.run([COMMAND, "health-check"], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "all well: 1 host (1 active), 1 of 1 episode looked at" in done.stdout
    assert codes() == []


def test_a_muted_host_is_shown_and_not_raised(receiver: Receiver, tmp_path: Path) -> None:
    environ = environment(receiver, tmp_path)
    receiver.put("bare", "e", EPISODE)
    report = {"checks": [{"name": "disk", "status": "fail"}]}
    receiver.request("PUT", "/v1/host-health/sick", json.dumps(report).encode(), AUTH)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, *arguments], env=environ, capture_output=True, text=True)

    assert run("mute", "bare", "--for", "3d", "--why", "new rack").returncode == 0
    assert run("mute", "bare", "--for", "soon", "--why", "x").returncode == 2
    assert "new rack" in run("mute").stdout
    done = run("health-check")
    assert done.returncode == 1
    assert "muted until" in done.stdout and "failed checks: disk" in done.stdout
    raised = (receiver.data_dir / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["host_id"] for line in raised] == ["sick"]
    assert run("mute", "bare", "--end").returncode == 0
    assert "symptom=unstamped host=bare" in run("health-check", "--quiet").stdout


def test_a_wrong_folder_is_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "health-check"],
        env={"CIS490_DATA_DIR": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cis490-receiver: data_dir is ") and not (tmp_path / "nowhere").exists()


def test_what_hosts_and_broken_files_say_harms_neither_the_run_nor_the_terminal(
    receiver: Receiver, tmp_path: Path
) -> None:
    nested = b"[" * 100_000 + b"\n"
    assert receiver.put("well", "e", EPISODE, **COMMIT).status == 201
    checks = {"\x1b]0;mine\x07\x1b[2J\nlab-9 all is well": False, "\ue000": False}
    report = json.dumps({"checks": checks}).encode()
    assert receiver.request("PUT", "/v1/host-health/odd", report, AUTH).status == 200
    for name in ("rejections.jsonl", "repeats.jsonl", "alerts.jsonl", "monitor.json"):
        (receiver.data_dir / name).write_bytes(nested)
    (receiver.data_dir / "mutes.json").write_text('[{"host_id": "odd", "until_ns": "x", "why": ""}]')
    reports = receiver.data_dir / "host-health"
    stored = json.loads((reports / "odd.json").read_bytes())
    (reports / "when.json").write_text(
        json.dumps(stored | {"host_id": "when", "received_at_wall": "garbage"})
    )
    done = subprocess.run([COMMAND, "health-check"], env=environment(receiver, tmp_path), capture_output=True)
    assert done.returncode == 1, done.stderr
    shown = done.stdout.decode()
    assert "failed checks: ?]0;mine??[2J?lab-9 all is well, ?" in shown
    assert not any(line.startswith("lab-9") for line in shown.splitlines())


def test_what_commands_change_at_once_is_all_kept(receiver: Receiver, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    environ = environment(receiver, tmp_path) | {"CIS490_TOKENS_FILE": str(tokens)}
    commands = [[COMMAND, "token", "add", f"n{number}"] for number in range(6)]
    commands += [[COMMAND, "mute", f"n{number}", "--for", "1d", "--why", "x"] for number in range(6)]
    running = [subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(60) for process in running] == [0] * 12
    assert tokens.read_text().count("[[token]]") == 6
    assert len(json.loads((receiver.data_dir / "mutes.json").read_text())) == 6


def test_a_command_says_what_is_missing_in_a_sentence(receiver: Receiver, tmp_path: Path) -> None:
    (receiver.data_dir / "index.jsonl").unlink()
    for command in ("stats", "export"):
        done = subprocess.run(
            [COMMAND, command], env=environment(receiver, tmp_path), capture_output=True, text=True
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        sentence = done.stderr.splitlines()[-1]
        assert "index.jsonl" in sentence and "run: cis490-receiver reindex" in sentence

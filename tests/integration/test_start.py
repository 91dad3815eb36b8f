"""A configuration that cannot be used stops the start with one sentence and status 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.receiver import BIN, Receiver, clean_environment

CASES: list[tuple[dict[str, object], str | None, list[str]]] = [
    ({"gate_windo": "1"}, None, ["gate_windo", "CIS490_GATE_WINDO", "did you mean gate_window"]),
    ({}, "gate_windw = 3", ["gate_windw", "receiver.toml", "did you mean gate_window"]),
    ({"gate_window": "many"}, None, ["gate_window", "CIS490_GATE_WINDOW", "whole number from 1"]),
    ({}, "gate_enabled = 1", ["gate_enabled", "receiver.toml", "true or false"]),
    ({}, "disk_reserve_bytes = -1", ["disk_reserve_bytes", "number of bytes"]),
    ({}, "data_dir = [", ["receiver.toml", "not valid TOML"]),
    ({"bind": "0.0.0.0:0"}, None, ["bind", "CIS490_BIND", "0.0.0.0:0", "allow_unauthenticated"]),
    ({"bind": "[::]:0"}, None, ["bind", "no token"]),
    ({"bind": "somewhere"}, None, ["bind", "HOST:PORT"]),
    ({"bearer_token": ""}, None, ["bearer_token", "CIS490_BEARER_TOKEN", "not empty"]),
    ({"bearer_token": "hunter two"}, None, ["bearer_token", "visible ASCII"]),
    ({"bearer_token_file": "/nonexistent/token"}, None, ["bearer_token_file", "/nonexistent/token"]),
    ({"data_dir": "/proc/nowhere"}, None, ["data_dir", "/proc/nowhere", "CIS490_DATA_DIR"]),
    ({"config": "/nonexistent/receiver.toml"}, None, ["CIS490_CONFIG", "/nonexistent/receiver.toml"]),
]  # fmt: skip


#: Only what stores looks at the data folder.
STARTS = [
    (program, *case)
    for case in CASES
    for program in ("gunicorn", "flask", "command")
    if not (program == "command" and "data_dir" in case[0])
]


@pytest.mark.parametrize(("program", "settings", "toml", "words"), STARTS)
def test_a_bad_configuration_is_one_sentence_and_status_2(
    tmp_path: Path, program: str, settings: dict[str, object], toml: str | None, words: list[str]
) -> None:
    if toml is not None:
        (tmp_path / "receiver.toml").write_text(toml)
        settings = settings | {"config": tmp_path / "receiver.toml"}
    command = {
        "gunicorn": Receiver.command(),
        "flask": [sys.executable, "-m", "flask", "--app", "cis490_receiver", "config"],
        "command": [str(BIN / "cis490-receiver"), "config"],
    }[program]
    done = subprocess.run(
        command,
        env=clean_environment(**{"data_dir": tmp_path / "data"} | settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("cis490-receiver: ")]
    assert len(sentences) == 1
    for word in words:
        assert word in sentences[0]
    assert "hunter" not in done.stderr


def test_the_effective_configuration_is_printed_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "receiver.toml").write_text(
        'gate_window = 7\nmax_episode_bytes = "2GiB"\nsilent_after_minutes = 5\n'
    )
    environment = clean_environment(
        config=tmp_path / "receiver.toml", bearer_token="hunter2", silent_after_minutes="9", data_dir=tmp_path
    )
    for command in (["cis490-receiver", "config"], ["flask", "--app", "cis490_receiver", "config"]):
        program = [str(BIN / command[0]), *command[1:]]
        as_json = subprocess.run(
            [*program, "--json"], env=environment, capture_output=True, text=True, check=True
        )
        values = json.loads(as_json.stdout)
        assert (values["gate_window"], values["max_episode_bytes"], values["silent_after_minutes"]) == (
            7,
            2 << 30,
            9,
        )
        assert values["bearer_token"] == "********"
        plain = subprocess.run(
            [*program, "--explain"], env=environment, capture_output=True, text=True, check=True
        )
        assert "gate_window = 7" in plain.stdout
        assert "hunter2" not in as_json.stdout + plain.stdout + as_json.stderr + plain.stderr


@pytest.mark.parametrize(
    "command", [["health-check"], ["reindex"], ["verify"], ["gate-refresh"], ["token", "list"]]
)
def test_the_commands_are_the_same_under_flask(tmp_path: Path, command: list[str]) -> None:
    environment = clean_environment(data_dir=tmp_path / "data", syslog_address="", disk_reserve_bytes=0)
    ran = []
    for program in ([str(BIN / "flask"), "--app", "cis490_receiver"], [str(BIN / "cis490-receiver")]):
        options = [] if command[0] == "token" else ["--json"]
        done = subprocess.run(
            [*program, *command, *options], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr
        ran.append((done.returncode, sorted(json.loads(done.stdout)) if done.stdout else done.stderr))
        help_text = subprocess.run(
            [*program, *command, "--help"], env=environment, cwd=tmp_path, capture_output=True
        )
        assert help_text.returncode == 0 and b"Usage:" in help_text.stdout
    assert ran[0] == ran[1]
    assert ran[0][0] == (2 if command[0] in ("gate-refresh", "token") else 0)

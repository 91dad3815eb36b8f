"""A command that cannot do what it was asked for says so to people and to programs, and its exit status is true."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cis490_receiver.commands import COMMANDS
from tests.commands.running import PROGRAM, answer, run, write_index
from tests.support.receiver import clean_environment

#: What makes each command fail in an empty data folder, and how it then ends.
IN_AN_EMPTY_FOLDER = {
    "collect": (["collect", "--nope"], 2, "bad-usage"),
    "config": (["config", "--nope"], 2, "bad-usage"),
    "doctor-cluster": (["doctor-cluster"], 2, "bad-configuration"),
    "export": (["export"], 2, "bad-configuration"),
    "gate-check": (["gate-check"], 2, "bad-usage"),
    "gate-refresh": (["gate-refresh"], 2, "bad-configuration"),
    "gate-show": (["gate-show"], 1, "no-gate-list"),
    "health-check": (["health-check"], 2, "bad-configuration"),
    "host": (["host", "list"], 2, "bad-configuration"),
    "inspect": (["inspect"], 2, "bad-configuration"),
    "migrate": (["migrate", "--from", "DIR"], 2, "bad-configuration"),
    "migrate-schema": (["migrate-schema"], 2, "bad-configuration"),
    "mirror": (["mirror", "http://127.0.0.1:9", "DIR"], 1, "mirror-failed"),
    "mute": (["mute", "h", "--for", "soon", "--why", "x"], 2, "bad-usage"),
    "reindex": (["reindex", "--dry-run"], 2, "bad-configuration"),
    "release": (["release", "create", "r"], 2, "bad-configuration"),
    "serve": (["serve", "--nope"], 2, "bad-usage"),
    "stats": (["stats"], 2, "bad-configuration"),
    "token": (["token", "list"], 2, "bad-configuration"),
    "uploads": (["uploads"], 2, "bad-configuration"),
    "verify": (["verify"], 2, "bad-configuration"),
    "withdraw": (["withdraw", "h/e", "--why", "x"], 2, "bad-configuration"),
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_fails_in_one_sentence_and_one_object(name: str, tmp_path: Path) -> None:
    words, status, code = IN_AN_EMPTY_FOLDER[name]
    words = [str(tmp_path / word) if word == "DIR" else word for word in words]
    data = tmp_path / "data"
    data.mkdir()
    for_people = run(*words, data_dir=data)
    assert for_people.returncode == status and for_people.stdout == ""
    assert "Traceback" not in for_people.stderr
    for_programs = run(*words, "--json", data_dir=data)
    assert for_programs.returncode == status
    told = answer(for_programs)
    assert told["code"] == code and told["error"] in for_people.stderr
    # Nobody is to find that a look made an index, a lock or a catalog.
    assert list(data.iterdir()) == []


def test_what_a_remedy_names_succeeds(tmp_path: Path) -> None:
    (tmp_path / "episodes").mkdir()
    for command in ("stats", "export", "verify", "inspect", "health-check"):
        done = run(command, "--json", data_dir=tmp_path)
        assert (done.returncode, answer(done)["code"]) == (1, "no-index"), done.stderr
        assert "run: cis490-receiver reindex" in done.stderr
    assert run("reindex", data_dir=tmp_path).returncode == 0
    assert run("stats", data_dir=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["nope"],
        ["mirror", "foo", "DIR"],
        ["mirror", "http://host:70000", "DIR"],
        ["mirror", "https://host", "DIR", "--ca-file", "TEXT"],
        ["mirror", "http://host", "DIR", "--token-file", "TEXT"],
        ["stats", "--days", "x"],
        ["mute", "--for", "3d"],
    ],
)
def test_wrong_usage_is_2(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("two words")
    words = [{"DIR": str(tmp_path / "m"), "TEXT": str(tmp_path / "text")}.get(word, word) for word in words]
    done = run(*words, "--json", data_dir=tmp_path)
    assert done.returncode == 2, done.stderr
    assert answer(done)["code"] == "bad-usage"
    assert not (tmp_path / "m").exists()


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    write_index(tmp_path, 5000)
    for words in (["export"], ["export", "--format", "jsonl"], ["config", "--explain"]):
        done = subprocess.run(
            f"{PROGRAM} {' '.join(words)} | head -n 1; exit ${{PIPESTATUS[0]}}",
            shell=True,
            executable="/bin/bash",
            env=clean_environment(data_dir=tmp_path),
            capture_output=True,
            text=True,
        )
        assert len(done.stdout.splitlines()) == 1 and done.stderr == ""
        # What is short may have been written before the reader left.
        assert done.returncode == 141 or words[0] == "config"


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_output_that_goes_nowhere_spoils_nothing(where: str, tmp_path: Path) -> None:
    write_index(tmp_path, 3)
    done = subprocess.run(
        f"{PROGRAM} stats {where}",
        shell=True,
        env=clean_environment(data_dir=tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if where == ">&-" else 1)
    assert done.stderr == ("" if where == ">&-" else "cis490-receiver: No space left on device\n")


def test_an_interrupted_command_is_130(tmp_path: Path) -> None:
    write_index(tmp_path, 50_000)
    with subprocess.Popen(
        [PROGRAM, "stats", "--json"],
        env=clean_environment(data_dir=tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # The catalog is being made from here on.
        while not (tmp_path / "catalog.db").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert '"code": "interrupted"' in out and "Traceback" not in err


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    data, table = tmp_path / "data", tmp_path / "table.csv"
    write_index(data, 3)
    table.write_text("yesterday's")
    assert run("export", "-o", table, data_dir=data).returncode == 0
    whole = table.read_text()
    assert len(whole.splitlines()) == 4
    (data / "index.jsonl").unlink()
    failed = run("export", "-o", table, data_dir=data)
    assert (failed.returncode, failed.stdout, table.read_text()) == (1, "", whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "table.csv"]


def test_a_monitor_that_cannot_note_its_run_tells_what_it_saw(tmp_path: Path) -> None:
    write_index(tmp_path, 3)
    (tmp_path / "health-check.heartbeat").symlink_to("no-such-folder/heartbeat")
    done = run("health-check", "--json", data_dir=tmp_path)
    assert done.returncode == 1 and "heartbeat-not-written" in done.stderr
    assert answer(done)["hosts"] == 3

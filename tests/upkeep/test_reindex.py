"""reindex: the index agrees with the disk afterwards, whatever was there before and whoever writes meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import flask
import pytest

from cis490_receiver.backends import use_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.index.renewal import JournalDraft
from cis490_receiver.upkeep import reindex as reindexing
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment

COMMAND = str(BIN / "cis490-receiver")


def reindex(receiver: Receiver, *options: str, status: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [COMMAND, "reindex", "--json", *options],
        env=clean_environment(data_dir=receiver.data_dir),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def assert_agreement(receiver: Receiver) -> None:
    stored = {
        (host, name.removesuffix(".tar.zst")): len(data) for (host, name), data in receiver.stored().items()
    }
    lines = receiver.index()
    assert len(lines) == len(stored)
    assert {(line["host_id"], line["episode_id"]): line["size_bytes"] for line in lines} == stored


def test_nothing_to_do_leaves_the_file_itself_alone(receiver: Receiver) -> None:
    receiver.put("h", "e", make_episode(1))
    before = (receiver.data_dir / "index.jsonl").stat()
    assert reindex(receiver)["swapped"] is False
    after = (receiver.data_dir / "index.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_good_lines_stay_missing_ones_are_rebuilt_and_phantoms_set_aside(receiver: Receiver) -> None:
    meta = {"episode_type": "infected", "code_commit": "e" * 40, "schema_version": 7}
    for number in range(6):
        receiver.put("h", f"e{number}", make_episode(number, meta=meta))
    journal = receiver.data_dir / "index.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    (receiver.data_dir / "episodes" / "h" / "e5.tar.zst").unlink()
    other = lines[0].replace(make_episode(0, meta=meta).sha256.encode(), b"0" * 64)
    odd = lines[1].replace(b'"schema_version"', b'"future_key":1, "schema_version"')
    journal.write_bytes(b"".join([other, lines[0], odd, b"garbage\xff\n", lines[5], lines[4], lines[4]]))

    would = reindex(receiver, "--dry-run", status=1)
    assert (
        journal.read_bytes().startswith(other) and not (receiver.data_dir / "index-set-aside.jsonl").exists()
    )
    did = reindex(receiver)
    assert did == would | {"swapped": True}
    assert (did["kept"], did["rebuilt"], did["set_aside"], did["damaged"]) == (3, 2, 4, [])
    assert_agreement(receiver)
    assert journal.read_bytes().startswith(lines[0] + odd + lines[4])
    rebuilt = receiver.index()[-1]
    assert (rebuilt["episode_type"], rebuilt["code_commit"], rebuilt["schema_version"]) == (
        "infected",
        "e" * 40,
        7,
    )
    aside = [json.loads(x) for x in (receiver.data_dir / "index-set-aside.jsonl").read_text().splitlines()]
    assert [item["reason"] for item in aside] == ["duplicate", "not-a-record", "no-episode", "duplicate"]
    assert aside[2]["line"].encode() + b"\n" == lines[5]
    listed = receiver.request("GET", "/v1/episodes", headers=AUTH).json["episodes"]
    assert {e["episode_id"] for e in listed} == {f"e{number}" for number in range(5)}
    assert reindex(receiver)["swapped"] is False


def test_a_damaged_episode_keeps_its_line_and_is_reported(receiver: Receiver) -> None:
    receiver.put("h", "e", make_episode(1))
    before = receiver.index()
    os.truncate(receiver.data_dir / "episodes" / "h" / "e.tar.zst", 100)
    assert reindex(receiver, status=1)["damaged"] == ["h/e"]
    assert receiver.index() == before


def test_a_lost_index_comes_back_while_episodes_arrive(receiver: Receiver) -> None:
    for number in range(40):
        receiver.put(f"h{number % 3}", f"old{number}", make_episode(number, size=100_000))
    (receiver.data_dir / "index.jsonl").write_bytes(b"")
    done = threading.Event()
    shipped = []

    def ship() -> None:
        number = 0
        while not done.is_set():
            assert receiver.put("live", f"n{number}", make_episode(number)).status == 201
            shipped.append(f"n{number}")
            number += 1

    threads = [threading.Thread(target=ship)]
    threads[0].start()
    try:
        for _ in range(4):
            reindex(receiver)
            # Lose a line again, so that the next run has something to swap.
            journal = receiver.data_dir / "index.jsonl"
            subprocess.run(["flock", journal, "sed", "-i", "1d", journal], check=True)
    finally:
        done.set()
        threads[0].join()
    reindex(receiver)
    assert_agreement(receiver)
    assert len(shipped) > 10


@pytest.mark.parametrize("at", ["rename", "fsync", "write"])
def test_killed_at_any_point_it_leaves_the_old_index(
    receiver: Receiver, at: str, tool: Any, tmp_path: Path
) -> None:
    strace = tool("strace")
    for number in range(3):
        receiver.put("h", f"e{number}", make_episode(number))
    journal = receiver.data_dir / "index.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]) + b"torn")
    before = journal.read_bytes()
    command = [strace, "-f", "-qq", "-o", tmp_path / "trace", "-e", f"inject={at}:signal=KILL:when=1"]
    paths = ["-P", receiver.data_dir / "index.jsonl.reindex"]
    done = subprocess.run(
        [*command, *paths, os.path.realpath(BIN / "python"), "-m", "cis490_receiver", "reindex"],
        env=clean_environment(data_dir=receiver.data_dir) | {"PYTHONPATH": _site()},
        capture_output=True,
    )
    assert "KILL" in (tmp_path / "trace").read_text(), done.stderr
    assert journal.read_bytes() == before
    reindex(receiver)
    assert_agreement(receiver)


def _site() -> str:
    """Where the packages are: strace wants the interpreter itself, which does not know the environment's."""
    return str(Path(flask.__file__).parents[1])


def test_a_failure_is_told_to_machines_too(receiver: Receiver) -> None:
    with open(receiver.data_dir / "reindex.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert reindex(receiver, status=1)["code"] == "storage-failed"


def test_two_at_once_exclude_each_other(receiver: Receiver) -> None:
    with (receiver.data_dir / "reindex.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(
            [COMMAND, "reindex"],
            env=clean_environment(data_dir=receiver.data_dir),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1 and "another reindex is running" in done.stderr


def test_a_line_that_was_appended_meanwhile_takes_the_place_of_an_old_one(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of a line is gone; while reindex reads, the host ships other bytes under its name."""
    for name in ("e", "gone"):
        assert receiver.put("h", name, make_episode(1)).status == 201
        (receiver.data_dir / "episodes" / "h" / f"{name}.tar.zst").unlink()
    count = reindexing.count_lines

    def count_and_ship(*arguments: Any) -> None:
        count(*arguments)
        assert receiver.put("h", "e", make_episode(2, size=1)).status == 201

    monkeypatch.setattr(reindexing, "count_lines", count_and_ship)
    own_reindexer(receiver).run()
    [line] = receiver.index()
    assert line["sha256"] == make_episode(2, size=1).sha256
    set_aside = (receiver.data_dir / "index-set-aside.jsonl").read_text()
    assert set_aside.count("no-episode") == 1 and set_aside.count("overtaken") == 1
    assert receiver.put("h", "e", make_episode(2, size=1)).status == 200
    assert receiver.put("h", "e", make_episode(1)).status == 409


def test_no_line_is_made_for_what_is_gone_by_the_swap(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.put("h", "stays", make_episode(1))
    receiver.put("h", "goes", make_episode(2))
    (receiver.data_dir / "index.jsonl").write_bytes(b"")
    swap = JournalDraft.put_in_force

    def remove_and_swap(*arguments: Any) -> None:
        (receiver.data_dir / "episodes" / "h" / "goes.tar.zst").unlink()
        swap(*arguments)

    monkeypatch.setattr(JournalDraft, "put_in_force", remove_and_swap)
    own_reindexer(receiver).run()
    assert [line["episode_id"] for line in receiver.index()] == ["stays"]


def test_a_name_whose_sync_failed_is_done_over_before_its_line_is_made(receiver: Receiver) -> None:
    """What a failed upload left: a file with two names and no line. Syncing the name again would mean nothing."""
    receiver.put("h", "e", make_episode(1))
    (receiver.data_dir / "index.jsonl").write_bytes(b"")
    stored = receiver.data_dir / "episodes" / "h" / "e.tar.zst"
    trace = receiver.data_dir / "incoming" / f"h~e~{'0' * 32}"
    os.link(stored, trace)
    inode = os.stat(stored.parent).st_mtime_ns
    assert reindex(receiver, "--dry-run", status=1)["rebuilt"] == 1
    assert os.stat(stored.parent).st_mtime_ns == inode
    assert reindex(receiver)["rebuilt"] == 1
    assert os.stat(stored.parent).st_mtime_ns != inode, "the name was not made anew"
    assert_agreement(receiver)


def test_a_missing_index_is_made_anew_and_missed_by_readiness_when_it_cannot_be(receiver: Receiver) -> None:
    receiver.put("h", "e", make_episode(1))
    journal = receiver.data_dir / "index.jsonl"
    journal.unlink()
    assert reindex(receiver)["rebuilt"] == 1
    assert_agreement(receiver)
    journal.rename(journal.with_name("aside"))
    journal.mkdir()
    ready = receiver.request("GET", "/v1/ready")
    assert ready.status == 503 and b"storage-failed" in ready.body
    journal.rmdir()
    journal.with_name("aside").rename(journal)
    assert receiver.request("GET", "/v1/ready").status == 200


def own_reindexer(receiver: Receiver) -> reindexing.Reindexer:
    backends = use_backends(Settings(data_dir=receiver.data_dir))
    return reindexing.Reindexer(backends.index.renewal(SystemClock()), backends.store)


def test_root_leaves_another_users_folder_alone(receiver: Receiver) -> None:
    """What root wrote there, the receiver could not read."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    receiver.put("h", "e", make_episode(1))
    os.chown(receiver.data_dir, 65534, 65534)
    (receiver.data_dir / "catalog.db").unlink(missing_ok=True)
    before = sorted(receiver.data_dir.iterdir())
    for command in ("reindex", "stats", "verify", "health-check", "gate-refresh"):
        done = subprocess.run(
            [COMMAND, command],
            env=clean_environment(data_dir=receiver.data_dir, gate_repo=receiver.data_dir),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stdout
        assert f"sudo -u 'nobody' cis490-receiver {command}" in done.stderr
    assert sorted(receiver.data_dir.iterdir()) == before


def test_a_dry_run_writes_nothing_and_needs_no_right_to(receiver: Receiver, tmp_path: Path) -> None:
    for number in range(3):
        receiver.put("h", f"e{number}", make_episode(number))
    receiver.stop()
    data = receiver.data_dir
    for name in ("index.jsonl", "catalog.db"):
        (data / name).unlink(missing_ok=True)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    subprocess.run(["mount", "--bind", data, data], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
        found = reindex(receiver, "--dry-run", status=1)
    finally:
        subprocess.run(["umount", data], check=True)
    assert (found["rebuilt"], found["swapped"]) == (3, False)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    assert reindex(receiver)["rebuilt"] == 3

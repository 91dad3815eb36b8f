"""`cis490-shipper run` and `ship` against the real receiver."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cis490_receiver.client.shipper import Shipper
from cis490_receiver.client.spool import Spool
from cis490_receiver.client.transport import Transport
from tests.client.hosts import Lab
from tests.client.waiting import until
from tests.gate.snapshots import commit_id, make_snapshot, write
from tests.support.archives import Archive, make_episode
from tests.support.receiver import Receiver


@pytest.mark.slow
def test_whatever_is_killed_each_episode_arrives_once(
    start_receiver: Callable[..., Receiver],
    start_shipper: Callable[[Lab], subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    receiver = start_receiver()
    receiver.settings["bind"] = f"127.0.0.1:{receiver.port}"
    lab = Lab.of(tmp_path / "lab", receiver)
    dice = random.Random(490)
    archives = {f"run-{n:02}": make_episode(n, size=3 << 20 if n % 3 == 0 else 20_000) for n in range(30)}
    for name, archive in archives.items():
        lab.record(name, archive)
    shipper = start_shipper(lab)
    for step in range(8):
        have = len(receiver.index())
        until(lambda have=have: len(receiver.index()) >= min(30, have + 2), "progress")  # type: ignore[misc]
        time.sleep(dice.random() / 20)
        if step % 2:
            receiver.kill()
            receiver.start()
        else:
            shipper.send_signal(signal.SIGKILL)
            shipper.wait()
            shipper = start_shipper(lab)
    until(lambda: not lab.names(), "an empty spool")
    assert lab.names("refused") == set()
    assert lab.names("shipped") == {f"{name}.tar.zst" for name in archives}
    index = [(line["episode_id"], line["sha256"]) for line in receiver.index()]
    assert sorted(index) == sorted((name, archive.sha256) for name, archive in archives.items())
    stored = {name: archives[name.removesuffix(".tar.zst")].data for name in lab.names("shipped")}
    assert receiver.stored() == {("lab-1", name): data for name, data in stored.items()}
    assert "Traceback" not in lab.log()


def test_what_is_acknowledged_bears_the_stamps_of_its_own_meta_json(
    receiver: Receiver, tmp_path: Path
) -> None:
    lab = Lab.of(tmp_path / "lab", receiver, keep_shipped=False)
    meta = {
        "code_commit": "c" * 40,
        "episode_type": "infected",
        "benign_profile": "db_query",
        "schema_version": 3,
    }
    lab.record("one", make_episode(1, meta=meta))
    done = lab.run("cis490-shipper", "run", "--once")
    assert (done.returncode, done.stdout) == (0, "1 shipped, 0 refused, 0 left in the spool\n")
    [line] = receiver.index()
    assert {name: line[name] for name in meta} == meta
    assert lab.names() == lab.names("shipped") == set()


def test_a_refusal_for_good_moves_the_file_and_puts_the_answer_beside_it(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(gate_enabled=True, validate="magic")
    write(receiver.data_dir, make_snapshot(1))
    lab = Lab.of(tmp_path / "lab", receiver)
    good = {"code_commit": commit_id(1)}
    receiver.put("lab-1", "taken", make_episode(1), X_Cis490_Code_Commit=commit_id(1))
    lab.record("taken", make_episode(2, meta=good))
    lab.record("stale", make_episode(3, meta={"code_commit": commit_id(2)}))
    lab.record("unstamped", make_episode(4, meta={"code_commit": None}))
    lab.record("not a name", make_episode(5, meta=good))
    lab.record("good", make_episode(6, meta=good))
    done = lab.run("cis490-shipper", "run", "--once")
    assert (done.returncode, done.stdout) == (1, "1 shipped, 4 refused, 0 left in the spool\n")
    answers = {
        path.name.removesuffix(".tar.zst.answer.json"): json.loads(path.read_text())
        for path in (lab.spool / "refused").glob("*.answer.json")
    }
    assert {name: (told["status"], told["answer"]["code"]) for name, told in answers.items()} == {
        "taken": (409, "conflict"),
        "stale": (412, "commit-rejected"),
        "unstamped": (400, "missing-commit"),
        "not a name": (None, "bad-episode-name"),
    }
    assert "FIXYOURSELF" in answers["stale"]["answer"]["remediation"]
    for name in answers:
        assert (lab.spool / "refused" / f"{name}.tar.zst").exists()
    assert lab.names("shipped") == {"good.tar.zst"}


def test_an_episode_whose_commit_was_pushed_a_moment_ago_is_taken_after_all(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(gate_enabled=True, workers=1)
    write(receiver.data_dir, make_snapshot(1))
    lab = Lab.of(tmp_path / "lab", receiver)
    lab.record("early", make_episode(1, meta={"code_commit": commit_id(2)}))
    assert lab.run("cis490-shipper", "run", "--once").returncode == 1
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    assert "early.tar.zst" in lab.names("refused")
    write(receiver.data_dir, make_snapshot(2, 1))
    until(lambda: _would_accept(receiver, commit_id(2)), "the gate's new list")
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    assert lab.names("refused") == set()
    assert [line["episode_id"] for line in receiver.index()] == ["early"]


def _would_accept(receiver: Receiver, commit: str) -> bool:
    headers = {"Authorization": "Bearer a-token-for-tests", "X-Cis490-Code-Commit": commit}
    return bool(receiver.request("POST", "/v1/ping", headers=headers).json["would_accept"])


def test_a_file_that_is_being_written_is_not_shipped(shared_receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", shared_receiver, host_id="writing")
    archive = make_episode(1, size=300_000)
    path = lab.spool / "slow.tar.zst"
    (lab.spool / "other.tar.zst.partial").write_bytes(archive.data)
    (lab.spool / ".hidden.tar.zst").write_bytes(archive.data)
    with path.open("wb") as stream:
        for cut in (0, 3, len(archive.data) // 2, len(archive.data) - 1):
            stream.seek(0)
            stream.write(archive.data[:cut])
            stream.flush()
            assert lab.run("cis490-shipper", "run", "--once").returncode == 1
            assert "slow.tar.zst" in lab.names()
        stream.write(archive.data[-1:])
    lab.write(settle_seconds=3600)
    assert lab.run("cis490-shipper", "run", "--once").returncode == 1
    os.utime(path, (time.time() - 3700,) * 2)
    assert lab.run("cis490-shipper", "run", "--once").returncode == 0
    assert lab.names() == {"other.tar.zst.partial"}


def test_the_oldest_goes_first(receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    ages = {"c": 300, "a": 200, "b": 100}
    for name, age in ages.items():
        path = lab.record(name, make_episode(ord(name)))
        os.utime(path, (time.time() - age,) * 2)
    lab.run("cis490-shipper", "run", "--once")
    assert [line["episode_id"] for line in receiver.index()] == list(ages)


def test_a_shipper_that_is_refused_by_token_goes_on_when_it_is_mended(
    receiver: Receiver, start_shipper: Callable[[Lab], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    good = lab.token.read_text()
    lab.token.write_text("old\n")
    lab.record("one", make_episode(1))
    start_shipper(lab)
    until(lambda: "stage=token" in lab.log(), "a refused token")
    assert lab.names() == {"one.tar.zst"}
    told = json.loads(lab.run("cis490-shipper", "status", "--json").stdout)
    assert told["running"] and told["shipper"]["last_failure"]["stage"] == "token"
    lab.token.write_text(good)
    until(lambda: lab.names("shipped") == {"one.tar.zst"}, "shipping with the new token")


def test_two_shippers_do_not_work_on_one_spool(
    shared_receiver: Receiver, start_shipper: Callable[[Lab], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    lab = Lab.of(tmp_path / "lab", shared_receiver, host_id="two")
    start_shipper(lab)
    until(lambda: json.loads(lab.run("cis490-shipper", "status", "--json").stdout)["running"], "a shipper")
    second = lab.run("cis490-shipper", "run", "--once")
    assert (second.returncode, "another shipper" in second.stderr) == (1, True)


def test_shipping_by_hand_leaves_the_file_and_says_what_was_answered(
    shared_receiver: Receiver, tmp_path: Path
) -> None:
    lab = Lab.of(tmp_path / "lab", shared_receiver, host_id="by-hand")
    path = tmp_path / "one.tar.zst"
    path.write_bytes(make_episode(1).data)
    for status in ("stored", "already-present"):
        done = lab.run("cis490-shipper", "ship", path)
        assert (done.returncode, done.stdout.split()[0], status in done.stdout) == (0, "acknowledged", True)
    path.write_bytes(make_episode(2).data)
    done = lab.run("cis490-shipper", "ship", "--json", path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["files"][0]["answer"]["status"] == "conflict"
    assert path.exists()


def test_refused_episodes_go_back_into_the_spool_when_asked_for(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(gate_enabled=True)
    write(receiver.data_dir, make_snapshot(1))
    lab = Lab.of(tmp_path / "lab", receiver)
    lab.record("one", make_episode(1, meta={"code_commit": None}))
    lab.run("cis490-shipper", "run", "--once")
    status = lab.run("cis490-shipper", "status")
    assert status.returncode == 1
    assert "1 missing-commit" in status.stdout and "git pull --ff-only" in status.stdout
    assert lab.run("cis490-shipper", "retry", "no-such").returncode == 1
    for name in ("one", "one.tar.zst", "--all"):
        assert lab.run("cis490-shipper", "retry", name).stdout == "1 back in the spool\n"
        assert (lab.names(), lab.names("refused")) == ({"one.tar.zst"}, set())
        lab.run("cis490-shipper", "run", "--once")
    told = json.loads(lab.run("cis490-shipper", "retry", "--json", "one", "two").stdout)
    assert told == {"back": 1, "missing": ["two"], "blocked": []}


def test_room_is_made_from_what_the_receiver_has(receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", receiver, disk_reserve_bytes=1 << 48)
    lab.record("one", make_episode(1))
    lab.record("unfinished", Archive(make_episode(2).data[:-1]))
    lab.run("cis490-shipper", "run", "--once")
    assert lab.names("shipped") == set()
    assert lab.names() == {"unfinished.tar.zst"}
    assert len(receiver.index()) == 1


def test_who_watches_is_told_of_each_byte_that_is_read_and_sent(receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", receiver)
    data = make_episode(1, size=3 << 20).data
    lab.record("one", Archive(data))
    stages: list[tuple[str, int, int]] = []

    @contextlib.contextmanager
    def watch(doing: str, total: int) -> Iterator[Callable[[int], None]]:
        pieces: list[int] = []
        yield pieces.append
        stages.append((doing, total, sum(pieces)))

    result = Shipper(Transport(lab.host), Spool(lab.spool), watch=watch).round()
    assert result.shipped == 1
    whole = (len(data), len(data))
    assert stages == [("checking one.tar.zst", *whole), ("one.tar.zst", *whole)]

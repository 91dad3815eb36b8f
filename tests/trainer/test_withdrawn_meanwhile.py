"""10,000 episodes of a bad commit are withdrawn while a mirror and a torch loader read them: neither has one of them
after its next look."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cis490_receiver.models import Episode, wall_time
from cis490_receiver.trainer import Dataset
from tests.support.archives import make_episode
from tests.support.receiver import BIN, ROOT, TOKEN, Receiver, clean_environment
from tests.trainer.test_torch import torch_python

__all__ = ["torch_python"]

BAD, GOOD = "b" * 40, "a" * 40
BAD_COUNT, GOOD_COUNT = 10_000, 60
COMMAND = str(BIN / "cis490-receiver")


def fill(data: Path) -> list[str]:
    """A data folder with the bad episodes and, behind them in every order, the good ones; gives the names of these."""
    archive = make_episode(1, size=10)
    now = time.time_ns() - 10**12
    pattern = Episode(
        host_id="a",
        episode_id="e",
        sha256=archive.sha256,
        size_bytes=len(archive.data),
        code_commit=BAD,
        received_at_wall=wall_time(now),
        received_at_ns=now,
    )
    good = []
    with (data / "index.jsonl").open("wb") as index:
        for number in range(BAD_COUNT + GOOD_COUNT):
            record = replace(pattern, episode_id=f"e{number:05}", received_at_ns=now + number)
            if number >= BAD_COUNT:
                record = replace(record, host_id="z", code_commit=GOOD)
                good.append(str(record.key))
            path = data / "episodes" / record.host_id / record.key.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.data)
            index.write(record.to_line())
    return good


@pytest.mark.slow
def test_neither_a_mirror_nor_a_loader_has_one_after_its_next_look(torch_python: str, tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "data", tmp_path / "receiver.log")
    receiver.data_dir.mkdir()
    good = fill(receiver.data_dir)
    receiver.start()
    address, token, folder = f"http://127.0.0.1:{receiver.port}", tmp_path / "token", tmp_path / "mirror"
    token.write_text(TOKEN)
    follow = [COMMAND, "mirror", address, str(folder), "--token-file", str(token), "--json"]
    program = [torch_python, ROOT / "tests/trainer/with_torch.py", "withdrawn", address, TOKEN]
    environ = clean_environment() | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    mirror = subprocess.Popen(follow, env=environ, stdout=subprocess.PIPE)
    loader = subprocess.Popen(program, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert loader.stdout is not None and loader.stdin is not None
        assert loader.stdout.readline() == "reading\n"
        while not list((folder / "episodes").glob("a/*")):
            assert mirror.poll() is None
            time.sleep(0.05)
        withdraw = [COMMAND, "withdraw", "--commit", BAD, "--why", "its clock was wrong", "--json"]
        done = subprocess.run(
            withdraw, env=clean_environment(data_dir=receiver.data_dir), capture_output=True, check=True
        )
        assert json.loads(done.stdout)["episodes"] == BAD_COUNT
        loader.stdin.write("go on\n")
        loader.stdin.flush()
        # The run that is under way is cut off somewhere; the next one looks anew.
        mirror.send_signal(signal.SIGINT)
        assert mirror.wait(60) == 130
        told = json.loads(subprocess.run(follow, env=environ, capture_output=True, check=True).stdout)
        assert loader.wait(120) == 0
        found = json.loads(loader.stdout.readline())
    finally:
        for process in (mirror, loader):
            process.kill()
            process.communicate()
        receiver.end()
    assert not set(found["before"]) & set(good)
    assert sorted(found["gone_on"]) == sorted(found["anew"]) == good
    moved = list((folder / "withdrawn").glob("a/*"))
    assert told["present"] == GOOD_COUNT and told["withdrawn"] == len(moved) > 0
    assert not list((folder / "episodes").glob("a/*"))
    assert [str(episode.key) for episode in Dataset(folder)] == good

"""health-check and /v1/ready say "well" only of what they looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.integration.test_gone import age
from tests.support.archives import make_episode
from tests.support.receiver import BIN, Receiver

COMMAND = str(BIN / "cis490-receiver")
COMMIT = {"X_Cis490_Code_Commit": "a" * 40}
EPISODE = make_episode(1)
Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(receiver: Receiver, tmp_path: Path) -> Check:
    """Run the monitor: its answer, the receiver's own symptoms by name, and the exit status."""
    environ = os.environ | {
        "CIS490_DATA_DIR": str(receiver.data_dir),
        "CIS490_SYSLOG_ADDRESS": str(tmp_path / "log.sock"),
        "CIS490_DISK_RESERVE_BYTES": "0",
    }

    def check(*wrapper: str) -> dict[str, Any]:
        command = [*wrapper, COMMAND, "health-check", "--json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        answer: dict[str, Any] = json.loads(done.stdout)
        own = [item for item in answer.get("symptoms", []) if item["host_id"] is None]
        return answer | {
            "status": done.returncode,
            "own": {item["symptom"]: item["evidence"] for item in own},
        }

    return check


def alerts(receiver: Receiver) -> list[tuple[str, str]]:
    lines = (receiver.data_dir / "alerts.jsonl").read_text().splitlines()
    return [(line["state"], line["symptom"]) for line in map(json.loads, lines)]


def ship(receiver: Receiver, count: int = 5) -> None:
    for number in range(count):
        assert receiver.put("lab-1", f"e{number}", EPISODE, **COMMIT).status == 201


def test_a_store_without_its_files_is_not_well_until_they_are_back(
    receiver: Receiver, check: Check, tmp_path: Path
) -> None:
    ship(receiver)
    well = check()
    assert (well["status"], well["episodes"], well["episodes_looked_at"]) == (0, 5, 5)
    stored = receiver.data_dir / "episodes" / "lab-1"
    shutil.move(stored, tmp_path / "away")
    bad = check()
    assert bad["status"] == 1
    assert bad["own"]["episodes-missing"].startswith(
        "of 5 indexed episodes looked at, 5 not there: lab-1/e4, lab-1/e3, lab-1/e2, …"
    )
    check()
    shutil.move(tmp_path / "away", stored)
    assert check()["status"] == 0
    assert alerts(receiver) == [("raised", "episodes-missing"), ("recovered", "episodes-missing")]


def test_what_verify_quarantines_is_never_called_missing(
    receiver: Receiver, check: Check, tmp_path: Path
) -> None:
    ship(receiver)
    rotten = receiver.data_dir / "episodes" / "lab-1" / "e2.tar.zst"
    data = bytearray(rotten.read_bytes())
    data[-1] ^= 1
    rotten.write_bytes(data)
    environ = {"CIS490_DATA_DIR": str(receiver.data_dir)}
    subprocess.run([COMMAND, "verify", "--quarantine"], env=environ, capture_output=True, check=False)
    assert list((receiver.data_dir / "quarantine" / "lab-1").iterdir())
    assert set(check()["own"]) == {"index-damaged"}


def test_an_index_that_was_lost_is_raised(receiver: Receiver, check: Check) -> None:
    faketime = need("faketime")
    ship(receiver)
    index = receiver.data_dir / "index.jsonl"
    text = index.read_bytes()
    index.unlink()
    blind = check()
    assert blind["status"] == 1 and "index.jsonl" in blind["error"]
    assert alerts(receiver) == [("raised", "cannot-look")]
    # The next upload begins a new one.
    assert receiver.put("lab-2", "e", EPISODE, **COMMIT).status == 201
    check()
    assert alerts(receiver)[1:] == [("recovered", "cannot-look")]
    later = check(faketime, "-f", "+2h")
    assert later["status"] == 1 and "5: lab-1/" in later["own"]["episodes-unindexed"]
    index.write_bytes(text + index.read_bytes())
    assert "episodes-unindexed" not in check(faketime, "-f", "+2h")["own"]


def test_a_clock_that_was_set_back_is_raised(receiver: Receiver, check: Check) -> None:
    ship(receiver, 1)
    age(receiver, -1, "lab-1")
    found = check()
    assert found["status"] == 1
    assert "(lab-1) is dated up to" in found["own"]["clock-behind"]


def test_a_mark_from_the_future_does_not_say_that_the_monitor_runs(receiver: Receiver, check: Check) -> None:
    def codes() -> list[str]:
        return [item["code"] for item in receiver.request("GET", "/v1/ready").json["warnings"]]

    check()
    assert codes() == []
    mark = receiver.data_dir / "health-check.heartbeat"
    os.utime(mark, (time.time() + 3600,) * 2)
    assert codes() == ["health-check-not-running"]
    check()
    assert codes() == []

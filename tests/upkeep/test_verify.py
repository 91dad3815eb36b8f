"""verify: finds what rots, moves it aside when asked, and picks up where it stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from cis490_receiver.backends import use_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.filters import Filters
from cis490_receiver.models import EpisodeKey
from cis490_receiver.upkeep.quarantine import put_in_quarantine
from cis490_receiver.upkeep.reindex import Reindexer
from cis490_receiver.upkeep.throttle import Throttle
from cis490_receiver.upkeep.verify import Verifier
from tests.commands.running import write_index
from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment


def verify(receiver: Receiver, *options: str, status: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [str(BIN / "cis490-receiver"), "verify", "--json", *options],
        env=clean_environment(data_dir=receiver.data_dir, disk_reserve_bytes=0, syslog_address=""),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return answer


def test_every_kind_of_damage_is_named_and_only_rot_is_quarantined(receiver: Receiver) -> None:
    good, rotten = make_episode(1), make_episode(2)
    episodes = receiver.data_dir / "episodes" / "h"
    receiver.put("h", "good", good)
    receiver.put("h", "rotten", rotten)
    receiver.put("h", "short", make_episode(3))
    receiver.put("h", "missing", make_episode(4))
    receiver.put("h", "no-archive", Archive(b"never was one"))
    receiver.put("h", "disagrees", make_episode(5), X_Episode_Type="infected")
    # As they came: no disk is to blame.
    came_so = verify(receiver)
    assert [d["kind"] for d in came_so["untrainable"]] == ["meta", "archive"] and came_so["damaged"] == []

    flipped = bytearray(rotten.data)
    flipped[len(flipped) // 2] ^= 1
    (episodes / "rotten.tar.zst").write_bytes(flipped)
    (episodes / "short.tar.zst").write_bytes(b"")
    (episodes / "missing.tar.zst").unlink()
    found = verify(receiver, status=1)
    assert found["checked"] == 6 and found["quarantined"] == []
    assert {d["episode_id"]: d["kind"] for d in found["damaged"]} == {
        "rotten": "sha256", "short": "size", "missing": "missing",
    }  # fmt: skip
    assert [d["episode_id"] for d in found["untrainable"]] == ["disagrees", "no-archive"]

    moved = verify(receiver, "--quarantine", status=1)["quarantined"]
    assert sorted(moved) == ["h/rotten", "h/short"]
    assert {line["episode_id"] for line in receiver.index()} == {"good", "no-archive", "disagrees"}
    kept = list((receiver.data_dir / "quarantine" / "h").glob("rotten.*.tar.zst"))
    assert [path.read_bytes() for path in kept] == [bytes(flipped)]
    assert '"reason": "no-episode"' in (receiver.data_dir / "index-set-aside.jsonl").read_text()
    check = subprocess.run(
        [str(BIN / "cis490-receiver"), "health-check"],
        env=clean_environment(data_dir=receiver.data_dir, disk_reserve_bytes=0, syslog_address=""),
        capture_output=True, text=True,
    )  # fmt: skip
    assert "index-damaged" in check.stdout and "2 episodes quarantined" in check.stdout
    # The name is free: the host may ship the good bytes again.
    assert receiver.put("h", "rotten", rotten).status == 201
    assert receiver.request("GET", "/v1/episodes/h/rotten.tar.zst", headers=AUTH).body == rotten.data


def test_what_was_shipped_again_meanwhile_is_not_quarantined(receiver: Receiver) -> None:
    """Two runs find the same rot; one moves it, the host ships the episode again, and then the other one comes."""
    good = make_episode(1)
    receiver.put("h", "e", good)
    rot(receiver, "e")
    settings = Settings(data_dir=receiver.data_dir)
    backends = use_backends(settings)
    store, index = backends.store, backends.index
    report = Verifier(backends.verify_place, store, index, throttle=Throttle(None)).run(
        Filters(), resume=False
    )
    assert [damage.kind for damage in report.damaged] == ["sha256"]
    assert verify(receiver, "--quarantine", status=1)["quarantined"] == ["h/e"]
    assert receiver.put("h", "e", good).status == 201
    moved: list[EpisodeKey] = []
    reindexer = Reindexer(index.renewal(SystemClock()), store)
    put_in_quarantine(report, store, index, reindexer, moved)
    assert moved == []
    assert receiver.request("GET", "/v1/episodes/h/e.tar.zst", headers=AUTH).body == good.data
    assert [line["episode_id"] for line in receiver.index()] == ["e"]


def test_a_quarantine_waits_for_a_reindex_and_mends_what_one_left(receiver: Receiver) -> None:
    receiver.put("h", "rotten", make_episode(1))
    receiver.put("h", "gone", make_episode(2))
    rot(receiver, "rotten")
    with open(receiver.data_dir / "reindex.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        command = [str(BIN / "cis490-receiver"), "verify", "--quarantine"]
        run = subprocess.Popen(
            command,
            env=clean_environment(data_dir=receiver.data_dir, disk_reserve_bytes=0, syslog_address=""),
            stdout=subprocess.PIPE,
            text=True,
        )
        while not locks_waited_for(run.pid):
            assert run.poll() is None
        assert (receiver.data_dir / "episodes" / "h" / "rotten.tar.zst").exists()
    said, _ = run.communicate(timeout=30)
    assert "h/rotten" in said and "moved to quarantine" in said
    assert [line["episode_id"] for line in receiver.index()] == ["gone"]
    # As after a quarantine that was killed between the file and its line.
    (receiver.data_dir / "episodes" / "h" / "gone.tar.zst").unlink()
    verify(receiver, "--quarantine", status=1)
    assert receiver.index() == []


def test_what_cannot_be_read_is_named_and_the_rest_is_looked_at(receiver: Receiver) -> None:
    for number in range(3):
        receiver.put("h", f"e{number}", make_episode(number))
    rot(receiver, "e0")
    middle = receiver.data_dir / "episodes" / "h" / "e1.tar.zst"
    middle.unlink()
    # Nobody can read a folder as a file, root neither.
    middle.mkdir()
    found = verify(receiver, status=1)
    assert {d["episode_id"]: d["kind"] for d in found["damaged"]} == {"e0": "sha256", "e1": "unreadable"}


def rot(receiver: Receiver, episode: str) -> None:
    path = receiver.data_dir / "episodes" / "h" / f"{episode}.tar.zst"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def locks_waited_for(pid: int) -> list[str]:
    """The lines of /proc/locks (proc(5)) that show `pid` waiting."""
    lines = Path("/proc/locks").read_text().splitlines()
    return [line for line in lines if "->" in line and f" {pid} " in line]


def test_filters_sample_and_resume(receiver: Receiver) -> None:
    for number in range(8):
        receiver.put(f"h{number % 2}", f"e{number}", make_episode(number))
    assert verify(receiver, "--host", "h1")["checked"] == 4
    assert verify(receiver, "--since", "2099-01-01")["checked"] == 0
    assert verify(receiver, "--since", "tomorrow", status=2)["code"] == "bad-usage"
    assert verify(receiver, "--sample", "5", status=2)["code"] == "bad-usage"
    assert verify(receiver, "--sample", "0.0001%")["checked"] == 1
    stopped = verify(receiver, "--max-minutes", "0.0000001")
    assert (stopped["checked"], stopped["complete"]) == (0, False)
    assert verify(receiver, "--resume") == verify(receiver) | {"complete": True}


def test_what_is_not_there_is_not_counted_as_read(receiver: Receiver) -> None:
    for number in range(3):
        receiver.put("h", f"e{number}", make_episode(number))
    lost, short, _ = sorted((receiver.data_dir / "episodes" / "h").iterdir())
    lost.unlink()
    short.write_bytes(b"x")
    found = verify(receiver, status=1)
    assert (found["checked"], len(found["damaged"])) == (3, 2)
    assert found["size_bytes"] == receiver.index()[2]["size_bytes"]


def test_what_was_found_is_told_where_nothing_can_be_written(receiver: Receiver) -> None:
    receiver.put("h", "e", make_episode(1))
    rot(receiver, "e")
    verify(receiver, status=1)
    (receiver.data_dir / "verify.json").unlink()
    (receiver.data_dir / "verify.json").mkdir()
    assert [d["kind"] for d in verify(receiver, status=1)["damaged"]] == ["sha256"]


def test_an_interrupted_run_reports_leaves_its_place_and_is_130(receiver: Receiver) -> None:
    for number in range(4):
        receiver.put("h", f"e{number}", make_episode(number))
    command = [str(BIN / "cis490-receiver"), "verify", "--json", "--rate", "0.0001"]
    with subprocess.Popen(
        command,
        env=clean_environment(data_dir=receiver.data_dir, disk_reserve_bytes=0),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        # Its first file is open by the time that it has to wait.
        deadline = time.monotonic() + 20
        while not any("episodes" in str(path) for path in open_files(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        told = json.loads(process.communicate(timeout=20)[0])
    assert process.returncode == 130
    assert told["complete"] is False and (receiver.data_dir / "verify.json").exists()


def open_files(pid: int) -> list[Path]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(entry.readlink())
    return found


def test_a_month_of_samples_has_every_episode(tmp_path: Path) -> None:
    write_index(tmp_path, 300)
    backends = use_backends(Settings(data_dir=tmp_path))
    seen: set[EpisodeKey] = set()
    counts = []
    for _ in range(30):
        verifier = Verifier(
            backends.verify_place, backends.store, backends.index, throttle=Throttle(None), sample=0.05
        )
        report = verifier.run(Filters(), resume=False)
        seen |= {damage.key for damage in report.damaged}
        counts.append(report.checked)
    assert len(seen) == 300
    assert min(counts) >= 1 and max(counts) <= 40

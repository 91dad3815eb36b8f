"""A disk that is really full, has no inodes left, or has become read-only."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cis490_receiver.index.local import LocalIndex
from cis490_receiver.models import Episode, EpisodeKey, Upload, wall_time
from cis490_receiver.state.base.alerts import Alert, hour_of
from tests.integration.test_uploads import create, creation, head, send
from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment

MIB = 1 << 20
SMALL = make_episode(1)


class Disk:
    """A tmpfs of its own."""

    def __init__(self, folder: Path, options: str) -> None:
        self.folder = folder
        folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if made.returncode != 0:
            pytest.skip(f"cannot mount a tmpfs: {made.stderr.strip()}")

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def fill(self, leave: int) -> Path:
        """Take all space but `leave` bytes."""
        ballast = self.folder / "ballast"
        status = os.statvfs(self.folder)
        size = status.f_bavail * status.f_frsize - leave
        with ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
        return ballast

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    """Make a disk with these options of mount(8)."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a small tmpfs is mounted")
    disks: list[Disk] = []

    def make(options: str) -> Disk:
        disks.append(Disk(tmp_path / "disk", options))
        return disks[-1]

    yield make
    for one in disks:
        one.unmount()


@pytest.fixture
def receiver_on(tmp_path: Path) -> Iterator[Callable[[Disk], Receiver]]:
    started: list[Receiver] = []

    def start(disk: Disk) -> Receiver:
        started.append(Receiver(disk.folder / "data", tmp_path / "receiver.log", workers=1))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.end()


def large(seed: int, size: int) -> Archive:
    return Archive(random.Random(seed).randbytes(size))


def assert_consistent(receiver: Receiver) -> None:
    lines = {(line["host_id"], f"{line['episode_id']}.tar.zst"): line["sha256"] for line in receiver.index()}
    assert lines == {key: hashlib.sha256(data).hexdigest() for key, data in receiver.stored().items()}
    assert receiver.incoming() == []


def test_a_disk_that_fills_up_during_an_upload(
    disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]
) -> None:
    """Two uploads that fit one by one and not together: space is looked at when each begins."""
    receiver = receiver_on(disk("size=8m"))
    first, second = large(1, 5 * MIB), large(2, 5 * MIB)
    assert receiver.put("host-a", "before", SMALL).status == 201
    connection = receiver.connect()
    connection.putrequest("PUT", "/v1/episodes/host-a/slow.tar.zst")
    headers = {"Content-Length": str(len(first.data)), "X-Content-SHA256": first.sha256}
    for name, value in (headers | {"Authorization": "Bearer a-token-for-tests"}).items():
        connection.putheader(name, value)
    connection.endheaders(first.data[:MIB])
    # The first is under way when the second takes the rest of the disk.
    assert receiver.put("host-a", "quick", second).status == 201
    connection.send(first.data[MIB:])
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 507, body
    assert b"storage-full" in body
    assert answer.headers["Retry-After"]
    connection.close()
    assert_consistent(receiver)
    (receiver.data_dir / "episodes/host-a/quick.tar.zst").unlink()
    assert receiver.put("host-a", "slow", first).status == 201


def test_a_disk_that_is_full_when_the_line_is_written(
    disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]
) -> None:
    """Whatever is left decides which step fails: bytes, a new folder's block, or the line of the index."""
    full = disk("size=4m")
    receiver = receiver_on(full)
    # The index grows to the very end of a block, so that the next line needs a new one.
    number = 0
    while (receiver.data_dir / "index.jsonl").stat().st_size % 4096 < 3800:
        assert receiver.put("host-a", f"before-{number:02d}", SMALL).status == 201
        number += 1
    statuses = []
    for blocks in range(4):
        ballast = full.fill(leave=blocks * 4096)
        statuses.append(receiver.put("host-b", f"full-{blocks}", SMALL).status)
        assert receiver.request("GET", "/v1/health").status == 200
        # What was published and could not be indexed waits for its retry.
        ballast.unlink()
        assert receiver.put("host-b", f"full-{blocks}", SMALL).status in (200, 201)
        assert_consistent(receiver)
        while (receiver.data_dir / "index.jsonl").stat().st_size % 4096 < 3800:
            assert receiver.put("host-a", f"more-{number:02d}", SMALL).status == 201
            number += 1
    assert statuses[0] == 507
    assert statuses[-1] == 201
    assert set(statuses) == {507, 201}
    assert "doing=append" in receiver.log_text()


def test_a_disk_without_inodes(disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]) -> None:
    full = disk("size=8m,nr_inodes=20")
    receiver = receiver_on(full)
    assert receiver.put("host-a", "before", SMALL).status == 201
    # The catalog and the rejections have their files from here on.
    assert receiver.put("host-a", "before", make_episode(2)).status == 409
    ballast = []
    while os.statvfs(full.folder).f_ffree:
        ballast.append(full.folder / f"ballast-{len(ballast)}")
        ballast[-1].touch()
    # The upload needs one, the host's folder another, and so does a second name, on a tmpfs.
    for expected in (507, 507, 507, 201):
        answer = receiver.put("host-b", "full", SMALL)
        assert answer.status == expected, answer.body
        assert_consistent(receiver)
        ballast.pop().unlink()


class Monitor:
    """health-check as cron runs it, with a syslog that listens."""

    def __init__(self, data_dir: Path, log_socket: Path) -> None:
        self.alerts = data_dir / "alerts.jsonl"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(log_socket))
        self._listener.setblocking(False)
        self._environment = clean_environment(
            data_dir=data_dir, syslog_address=log_socket, disk_reserve_bytes=0
        )

    def run(self) -> tuple[int, list[str], str]:
        """Its exit status, the alerts that it told of, which are the same everywhere, and its complaints."""
        ended = subprocess.run(
            [str(BIN / "cis490-receiver"), "health-check", "--quiet"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        printed = ended.stdout.splitlines()
        sent = []
        with contextlib.suppress(BlockingIOError):
            while True:
                sent.append(self._listener.recv(65536).decode().partition("]: ")[2])
        assert sent == printed
        return ended.returncode, printed, ended.stderr

    def lines(self) -> list[str]:
        """The hosts of the lines of alerts.jsonl, every one of which is whole."""
        text = self.alerts.read_text() if self.alerts.exists() else ""
        assert text == "" or text.endswith("\n")
        return [json.loads(line)["host_id"] for line in text.splitlines()]

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def monitor_of(tmp_path: Path) -> Iterator[Callable[[Receiver], Monitor]]:
    with contextlib.ExitStack() as stack:

        def make(receiver: Receiver) -> Monitor:
            monitor = Monitor(receiver.data_dir, tmp_path / "log.sock")
            stack.callback(monitor.close)
            return monitor

        yield make


def old_alert(size: int) -> bytes:
    """A line of `size` bytes that the monitor wrote yesterday."""
    now_ns = time.time_ns() - 86400 * 10**9
    alert = Alert(wall_time(now_ns), now_ns, hour_of(now_ns), "recovered", "old", "silent", "", "", "")
    return dataclasses.replace(alert, evidence="x" * (size - len(alert.to_line()))).to_line()


def make_sick(receiver: Receiver) -> None:
    """Something to be told of, and a catalog that is in use."""
    commit = {"X_Cis490_Code_Commit": "a" * 40}
    assert receiver.put("sick", "e", SMALL, **commit).status == 201
    assert receiver.put("sick", "e", SMALL, **commit).status == 200
    report = json.dumps({"checks": [{"name": "disk", "status": "fail"}]}).encode()
    assert receiver.request("PUT", "/v1/host-health/sick", report, AUTH).status == 200


@pytest.mark.parametrize("filled", [0, 4000], ids=["no-file-yet", "in-the-midst-of-the-line"])
def test_an_alert_on_a_full_disk_is_raised_when_there_is_space(
    filled: int,
    disk: Callable[[str], Disk],
    receiver_on: Callable[[Disk], Receiver],
    monitor_of: Callable[[Receiver], Monitor],
) -> None:
    full = disk("size=4m")
    receiver = receiver_on(full)
    monitor = monitor_of(receiver)
    before = ["old"] if filled else []
    if filled:
        monitor.alerts.write_bytes(old_alert(filled))
    assert monitor.run() == (0, [], "")
    make_sick(receiver)
    ballast = full.fill(leave=0)
    for _ in range(2):
        status, told, complaint = monitor.run()
        assert (status, told) == (1, [])
        assert 'alerts-not-written file=alerts.jsonl reason="No space left on device"' in complaint
        assert "Traceback" not in complaint
        assert monitor.lines() == before
    ballast.unlink()
    status, [told_line], complaint = monitor.run()
    assert (status, complaint) == (1, "")
    assert "symptom=doctor-failing host=sick" in told_line
    assert monitor.lines() == [*before, "sick"]
    assert monitor.run() == (1, [], "")


def test_an_alert_that_just_fits_is_told_though_nothing_else_does(
    disk: Callable[[str], Disk],
    receiver_on: Callable[[Disk], Receiver],
    monitor_of: Callable[[Receiver], Monitor],
) -> None:
    full = disk("size=4m")
    receiver = receiver_on(full)
    monitor = monitor_of(receiver)
    monitor.alerts.write_bytes(old_alert(1000))
    assert monitor.run() == (0, [], "")
    make_sick(receiver)
    ballast = full.fill(leave=0)
    status, [told_line], complaint = monitor.run()
    assert status == 1 and "host=sick" in told_line and "doing=remember-symptoms" in complaint
    for _ in range(2):
        assert monitor.run()[:2] == (1, [])
        ballast.unlink(missing_ok=True)
    assert monitor.lines() == ["old", "sick"]


def test_a_monitor_looks_on_a_full_disk_as_on_any_other(
    disk: Callable[[str], Disk],
    receiver_on: Callable[[Disk], Receiver],
    monitor_of: Callable[[Receiver], Monitor],
) -> None:
    full = disk("size=4m")
    receiver = receiver_on(full)
    monitor = monitor_of(receiver)
    make_sick(receiver)
    full.fill(leave=0)
    status, _, complaint = monitor.run()
    assert status == 1 and "could not look" not in complaint
    # What it saw is something to tell of, for which there is no room.
    assert "alerts-not-written" in complaint


def test_all_that_is_stored_can_be_read_on_a_full_disk_and_after_a_restart(
    disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]
) -> None:
    """With a catalog that lags behind the index, one that must be made anew, and none."""
    full = disk("size=16m")
    receiver = receiver_on(full)
    for number in range(3):
        assert receiver.put("host-a", f"e{number}", SMALL).status == 201
    receiver.stop()
    catalog = receiver.data_dir / "catalog.db"
    lines = [
        Episode.from_upload(
            Upload(EpisodeKey("host-b", f"e{n}"), f"{n:064x}"), size_bytes=1, received_at_ns=10**18 + n
        )
        for n in range(4000)
    ]
    with (receiver.data_dir / "index.jsonl").open("ab") as journal:
        journal.writelines(line.to_line() for line in lines[:2000])
    index = LocalIndex(receiver.data_dir)
    assert index.find(lines[0].key) and catalog.stat().st_size
    # Nothing of it is mapped into memory: there a full disk kills the process (SIGBUS).
    assert not list(receiver.data_dir.glob("catalog*-shm"))
    index.close()
    with (receiver.data_dir / "index.jsonl").open("ab") as journal:
        journal.writelines(line.to_line() for line in lines[2000:])
    full.fill(leave=0)
    for state in ("behind", "of another index", "absent"):
        if state == "of another index":
            (receiver.data_dir / "index.generation").unlink()
        elif state == "absent":
            catalog.unlink()
            full.fill(leave=0)
        receiver.start()
        for path, told in (
            ("/v1/episodes/host-a/e2.tar.zst", SMALL.data),
            ("/v1/episodes?host=host-b&limit=1", b'"e3999"'),
            ("/v1/hosts", b'"episodes":4000'),
            ("/v1/index.jsonl", lines[-1].to_line()),
            ("/metrics", b"4000"),
        ):
            answer = receiver.request("GET", path, headers=AUTH)
            assert answer.status == 200 and told in answer.body, (state, path, answer.status)
        receiver.stop()


def test_a_disk_that_became_read_only(
    disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]
) -> None:
    here = disk("size=8m")
    receiver = receiver_on(here)
    assert receiver.put("host-a", "before", SMALL).status == 201
    assert receiver.request("GET", "/v1/ready").status == 200
    here.remount("ro")
    try:
        ready = receiver.request("GET", "/v1/ready")
        assert ready.status == 503
        assert ready.json["reasons"] == ["storage-failed"]
        answer = receiver.put("host-a", "read-only", SMALL)
        assert answer.status == 500
        assert answer.json["code"] == "storage-failed"
        # Reading goes on.
        for path in ("/v1/episodes/host-a/before.tar.zst", "/v1/episodes", "/v1/hosts", "/metrics"):
            assert receiver.request("GET", path, headers=AUTH).status == 200
        # What is stored cannot be vouched for now, nor is it lost.
        assert receiver.put("host-a", "before", SMALL).status == 500
    finally:
        here.remount("rw")
    assert receiver.put("host-a", "read-only", SMALL).status == 201
    assert receiver.put("host-a", "before", SMALL).status == 200
    assert receiver.request("GET", "/v1/ready").status == 200
    assert_consistent(receiver)


def test_an_upload_in_pieces_waits_for_room_and_goes_on(
    disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]
) -> None:
    here = disk("size=12m")
    receiver = receiver_on(here)
    episode = large(7, 5 * MIB)
    path = create(receiver, episode)
    ballast = here.fill(leave=4 * MIB)
    full = send(receiver, path, 0, episode.data)
    assert (full.status, full.json["code"]) == (507, "storage-full")
    assert int(full.headers["Retry-After"]) > 0
    # What fitted stays, and can be asked for though nothing more fits.
    asked = head(receiver, path)
    offset = int(asked.headers["Upload-Offset"])
    assert asked.status == 200 and offset <= 4 * MIB
    assert send(receiver, path, offset, episode.data[offset:]).status == 507
    ballast.unlink()
    offset = int(head(receiver, path).headers["Upload-Offset"])
    last = send(receiver, path, offset, episode.data[offset:])
    assert (last.status, last.headers["X-Episode-Status"]) == (204, "stored")
    assert receiver.stored()["lab-1", "run-1.tar.zst"] == episode.data
    assert_consistent(receiver)


def test_an_upload_in_pieces_on_a_disk_that_became_read_only(
    disk: Callable[[str], Disk], receiver_on: Callable[[Disk], Receiver]
) -> None:
    here = disk("size=8m")
    receiver = receiver_on(here)
    episode = large(8, MIB)
    path = create(receiver, episode)
    assert send(receiver, path, 0, episode.data[:1000]).status == 204
    ended = create(receiver, SMALL, name="ended")
    assert send(receiver, ended, 0, SMALL.data).status == 204
    here.remount("ro")
    try:
        asked = head(receiver, path)
        assert (asked.status, asked.headers["Upload-Offset"]) == (200, "1000")
        assert head(receiver, ended).headers["X-Episode-Status"] == "stored"
        listed = receiver.request("GET", "/v1/uploads", None, AUTH)
        assert [one["offset"] for one in listed.json["uploads"]] == [1000]
        assert send(receiver, path, 1000, episode.data[1000:]).json["code"] == "storage-failed"
        begun = receiver.request("POST", "/v1/uploads", None, creation(episode, name="new"))
        assert begun.json["code"] == "storage-failed"
    finally:
        here.remount("rw")
    assert send(receiver, path, 1000, episode.data[1000:]).headers["X-Episode-Status"] == "stored"
    assert_consistent(receiver)

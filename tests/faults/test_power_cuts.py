"""The power goes, for real: a file system on a loop device is shut down under load, without a flush of its log, and
mounted again. More cuts: `FAULTS_CUTS=100 bin/test tests/faults/test_power_cuts.py -rP`.

FS_IOC_SHUTDOWN (ext4 and xfs, ioctl_fs_shutdown) with NOLOGFLUSH drops what was not synced, as a power cut does.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.archives import Archive, make_episode
from tests.support.receiver import Receiver

SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
CUTS = int(os.environ.get("FAULTS_CUTS", "4"))


class Disk:
    """A file system in a file."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.image = folder / f"{kind}.img"
        self.path = folder / kind
        self.path.mkdir()
        with self.image.open("wb") as stream:
            stream.truncate(400 << 20)
        subprocess.run([need(f"mkfs.{kind}"), "-q", self.image], check=True)

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)

    def cut_power(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        deadline = time.monotonic() + 20
        while subprocess.run(["umount", self.path], capture_output=True).returncode:
            assert time.monotonic() < deadline, "the disk stays busy"
            time.sleep(0.05)


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    made = Disk(tmp_path, request.param)
    made.mount()
    yield made
    with contextlib.suppress(AssertionError):
        made.unmount()


def ship_until_it_ends(receiver: Receiver, round_: int, writer: int) -> dict[tuple[str, str], Archive]:
    acknowledged = {}
    for number in range(10_000):
        episode = make_episode(round_ * 10_000 + writer * 1000 + number, size=30_000 if writer else 2_000_000)
        host, name = f"host-{round_ % 3}-{writer % 2}", f"r{round_}-w{writer}-{number}"
        try:
            status = receiver.put(host, name, episode, timeout=10).status
        except (OSError, http.client.HTTPException):
            break
        if status != 201:
            break
        acknowledged[host, name] = episode
    return acknowledged


@pytest.mark.slow
def test_power_cuts_lose_nothing_acknowledged(disk: Disk, tmp_path: Path) -> None:
    receiver = Receiver(disk.path / "data", tmp_path / "receiver.log")
    total = 0
    try:
        for round_ in range(CUTS):
            receiver.start()
            with ThreadPoolExecutor(6) as pool:
                shipping = [pool.submit(ship_until_it_ends, receiver, round_, writer) for writer in range(6)]
                time.sleep(0.1 + 0.05 * (round_ % 7))
                disk.cut_power()
                time.sleep(0.05)
                receiver.kill()
                acknowledged = {key: value for one in shipping for key, value in one.result().items()}
            disk.unmount()
            disk.mount()
            receiver.start()
            stored = receiver.stored()
            lines = {(line["host_id"], line["episode_id"]): line["sha256"] for line in receiver.index()}
            assert {(host, f"{name}.tar.zst") for host, name in lines} == stored.keys()
            for (host, name), episode in acknowledged.items():
                assert lines[host, name] == episode.sha256
                assert stored[host, f"{name}.tar.zst"] == episode.data
            assert receiver.incoming() == []
            total += len(acknowledged)
            receiver.kill()
            if sum(map(len, stored.values())) > 150 << 20:
                _start_over(disk)
    finally:
        receiver.end()
    assert total >= CUTS
    print(f"{disk.path.name}: {CUTS} cuts, {total} acknowledgements, none lost")


def _start_over(disk: Disk) -> None:
    """Start over with an empty data folder: the disk is small."""
    subprocess.run(["rm", "-rf", disk.path / "data"], check=True)

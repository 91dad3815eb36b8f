"""Where the CPU time of a small episode goes: python -m benchmarks.shares

Measures, one after the other and several times, the receiver; the same gunicorn with an application that reads the body
and keeps nothing; and the ingest alone, called in this process. Prints the CPU time of each for one episode of
64 KiB, on disk and in memory: the least of the rounds, as whatever else runs on the machine only adds to it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bodies import digest, pieces
from benchmarks.client import Job, drive
from benchmarks.servers import BARE, OURS, TOKEN, Server
from cis490_receiver.backends import open_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.ingest import receive_episode
from cis490_receiver.models import EpisodeKey, Upload
from cis490_receiver.policy.inspection import inspector

SIZE = 64 * 1024


class Bytes:
    """A body that is there already, as `ingest.Body`."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        """See `ingest.Body.readinto`."""
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def peek_small(self) -> bytes | None:
        """See `ingest.Body.peek_small`."""
        return bytes(self._rest)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shares", description=__doc__)
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder to store on")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of each measurement")
    options = parser.parse_args()
    print(f"{'CPU ms for an episode of 64 KiB':44} {'disk':>8} {'tmpfs':>8}")
    rows: dict[str, list[float]] = {}
    for place in (options.disk, Path("/dev/shm")):
        with tempfile.TemporaryDirectory(prefix="cis490-shares-", dir=place) as folder:
            for name, least in _measure(Path(folder), options.rounds, options.seconds).items():
                rows.setdefault(name, []).append(least)
    for name, values in rows.items():
        print(f"{name:44} {' '.join(f'{value:8.2f}' for value in values)}")
    return 0


def _measure(folder: Path, rounds: int, seconds: float) -> dict[str, float]:
    servers = [Server(name, folder / name, workers=1) for name in (OURS, BARE)]
    measures: dict[str, Callable[[int], float]] = {}
    try:
        for server in servers:
            server.start()
        for connections in (1, 16):
            for server, what in zip(servers, ("the receiver", "gunicorn that keeps nothing"), strict=True):
                name = f"{what}, {connections} connection{'s' * (connections > 1)}"
                measures[name] = _over_http(server, connections, seconds)
        measures["the ingest alone, one thread"] = _in_process(folder / "alone", seconds)
        found = [{name: measure(number) for name, measure in measures.items()} for number in range(rounds)]
    finally:
        for server in servers:
            server.stop()
    return {name: min(one[name] for one in found) for name in measures}


def _over_http(server: Server, connections: int, seconds: float) -> Callable[[int], float]:
    def measure(number: int) -> float:
        meter = server.meter()
        prefix = f"c{connections}-{number}"
        outcome = drive(Job(server.port, TOKEN, prefix, connections, SIZE, digest(SIZE), False, 0, seconds))
        return 1000 * meter.read().cpu_seconds / outcome.count

    return measure


def _in_process(folder: Path, seconds: float) -> Callable[[int], float]:
    settings = Settings(data_dir=folder, disk_reserve_bytes=0)
    backends = open_backends(settings)
    data = b"".join(pieces(SIZE))
    numbers = itertools.count()

    def measure(_: int) -> float:
        count = 0
        end = time.monotonic() + seconds
        started = time.process_time()
        while time.monotonic() < end:
            upload = Upload(EpisodeKey("host", f"e{next(numbers)}"), digest(SIZE), size_bytes=SIZE)
            receive_episode(
                upload,
                Bytes(data),
                store=backends.store,
                index=backends.index,
                clock=SystemClock(),
                inspector=inspector(settings),
            )
            count += 1
        return 1000 * (time.process_time() - started) / count

    return measure


if __name__ == "__main__":
    sys.exit(main())

"""bin/bench: the receiver beside nginx's WebDAV PUT and an asynchronous intake, in turns, round by round."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import scenarios
from benchmarks.figures import Figures
from benchmarks.filling import fill_index
from benchmarks.scenarios import DISK, MEMORY, QUICK, Field, Scenario, Sizes
from benchmarks.servers import ASYNC, OURS, PEERS, NotInstalled, Server, nginx_path
from benchmarks.slow_disk import SlowDisk

SHM = Path("/dev/shm")


def main() -> int:
    """Measure, print the table, write the JSON."""
    options = _options()
    sizes = QUICK if options.quick else Sizes()
    rounds = options.rounds or (1 if options.quick else 3)
    chosen = options.only or list(scenarios.NAMES)
    figures = Figures()
    started = time.time()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        nginx_path()
        with _folders(options.disk) as (disk, memory):
            _measure(disk, memory, sizes, rounds, chosen, figures)
    except NotInstalled as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    machine = _machine()
    print(figures.table())
    shares = ", ".join(f"{100 * figures.busiest_client(peer):.0f} % against {peer}" for peer in PEERS)
    print(f"\n{machine}; rounds: {rounds}, median (min–max); {time.time() - started:.0f} s.")
    print(
        "ours : peer is how many times better ours was in the same round; nginx's PUT neither hashes nor syncs."
    )
    print(f"The load generator took at most, of one CPU: {shares}.")
    if options.json:
        document = {
            "machine": machine,
            "rounds": rounds,
            "quick": options.quick,
            "figures": figures.as_list(),
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, under a minute")
    parser.add_argument("--only", type=_names, metavar="NAME[,NAME]", help=", ".join(scenarios.NAMES))
    parser.add_argument("--rounds", type=int, metavar="N", help="default 3")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder on the disk to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in scenarios.NAMES:
            raise argparse.ArgumentTypeError(f"no scenario {name}; there are {', '.join(scenarios.NAMES)}")
    return names


@contextlib.contextmanager
def _folders(on_disk: Path) -> Iterator[tuple[Path, Path]]:
    """A folder on the disk and one in memory, removed at the end."""
    disk = Path(tempfile.mkdtemp(prefix="cis490-bench-", dir=on_disk))
    memory = Path(tempfile.mkdtemp(prefix="cis490-bench-", dir=SHM))
    try:
        yield disk, memory
    finally:
        shutil.rmtree(disk)
        shutil.rmtree(memory)


def _measure(
    disk: Path, memory: Path, sizes: Sizes, rounds: int, chosen: Sequence[str], figures: Figures
) -> None:
    """Run the `chosen` scenarios, place by place; within a place the peers take turns in every round."""
    for place, folder in ((DISK, disk), (MEMORY, memory)):
        wanted = [name for name in scenarios.EVERYWHERE if name in chosen]
        if place == DISK:
            wanted += [name for name in scenarios.ON_DISK if name in chosen]
        servers = [Server(name, folder / name) for name in PEERS]
        _run(place, servers, wanted, sizes, rounds, figures)
    if scenarios.SLOWLY in chosen:
        disks = {name: SlowDisk(disk / f"slow-{name}") for name in (OURS, ASYNC)}
        servers = [
            Server(name, disk / f"slow-{name}" / "server", more_environment=disks[name].environment())
            for name in disks
        ]
        slow = functools.partial(scenarios.slow, disks=disks)
        _run(scenarios.SLOW, servers, [scenarios.SLOWLY], sizes, rounds, figures, {scenarios.SLOWLY: slow})
    if wanted := [name for name in scenarios.WITH_INDEX if name in chosen]:
        servers = []
        for lines in (sizes.few_lines, sizes.many_lines):
            servers.append(Server(OURS, disk / f"index-{lines}"))
            fill_index(servers[-1].data, lines)
        _run(DISK, servers, wanted, sizes, rounds, figures)
    if scenarios.LIMITS in chosen:
        for number in range(rounds):
            _say(f"{scenarios.LIMITS}, round {number + 1}")
            scenarios.machine(disk, memory, sizes, figures)


def _run(
    place: str,
    servers: list[Server],
    wanted: Sequence[str],
    sizes: Sizes,
    rounds: int,
    figures: Figures,
    every: Mapping[str, Scenario] = scenarios.ANYWHERE,
) -> None:
    if not wanted:
        return
    try:
        for server in servers:
            server.start()
        field = Field(place, servers, sizes, Figures(), "warm")
        for server in servers:
            field.put(server, "warm", size_bytes=scenarios.SMALL_BYTES, connections=8, requests=4)
            server.forget()
        for number in range(rounds):
            # Nobody is always the first.
            turn = number % len(servers)
            field = Field(place, servers[turn:] + servers[:turn], sizes, figures, f"r{number}")
            for name in wanted:
                _say(f"{name} on {place}, round {number + 1}")
                every[name](field)
    finally:
        for server in servers:
            server.stop()


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())

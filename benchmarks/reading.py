"""How fast a trainer reads: python -m benchmarks.reading

Every episode of a receiver, whole and verified, by `Dataset` in one process, beside what `curl --parallel` takes for
the same files, which it neither hashes nor keeps. They take turns, round by round. Exit status 1 when the median ratio
of reading the bytes is below the limit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import OURS, ROOT, TOKEN, Server
from cis490_receiver.models import Episode, wall_time

SIZE_BYTES = 64 << 10
HOSTS = 20
#: Of curl's time at most 1 / 0.8.
LIMIT = 0.8
_READ = """
import resource, sys, time
from cis490_receiver.trainer import Dataset
data = Dataset(sys.argv[1], sys.argv[2], cache=sys.argv[3] or False)
began, count = time.perf_counter(), 0
for episode in data:
    {read}
    count += 1
used = resource.getrusage(resource.RUSAGE_SELF)
print(count, time.perf_counter() - began, used.ru_utime + used.ru_stime)
"""
#: Ways to read an episode whole.
WAYS = {
    "bytes": "with episode.open_archive() as stream: assert len(stream.read()) == episode.size_bytes",
    "path": "assert episode.path().stat().st_size == episode.size_bytes",
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a way took."""

    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=LIMIT, help="the least ratio that is well")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder to keep them in")
    parser.add_argument("--json", action="store_true", help="print every value")
    options = parser.parse_args()
    if shutil.which("curl") is None:
        print("reading: needs curl: apt-get install curl", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="cis490-reading-", dir=options.disk) as name:
        found = _measure(Path(name), options.episodes, options.rounds)
    figures = {way: _figures(found["curl"], taken, options.episodes) for way, taken in found.items()}
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for way, figure in figures.items():
            print(
                f"{way:6} {figure['episodes_per_second']:7.0f} episodes/s, {figure['ratio']:4.0%} of curl's rate "
                f"({figure['least']:.0%}–{figure['most']:.0%}); CPU an episode {figure['cpu_us']:.0f} µs here, "
                f"{figure['receiver_cpu_us']:.0f} µs at the receiver"
            )
    return 1 if figures["bytes"]["ratio"] < options.limit else 0


def _figures(curl: list[Taken], taken: list[Taken], episodes: int) -> dict[str, float]:
    """The median rate, its ratio to curl's in the same round, and what it cost."""
    ratios = [one.seconds / other.seconds for one, other in zip(curl, taken, strict=True)]
    return {
        "episodes_per_second": episodes / statistics.median(item.seconds for item in taken),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "cpu_us": statistics.median(item.cpu_seconds for item in taken) / episodes * 1e6,
        "receiver_cpu_us": statistics.median(item.server_cpu_seconds for item in taken) / episodes * 1e6,
    }


def _measure(folder: Path, episodes: int, rounds: int) -> dict[str, list[Taken]]:
    server = Server(OURS, folder / OURS)
    names = _fill(server.data, episodes)
    found: dict[str, list[Taken]] = {"curl": [], **{way: [] for way in WAYS}}
    try:
        server.start()
        config = folder / "curl"
        config.write_text(
            "".join(f'url = "{_url(server)}/v1/episodes/{name}"\noutput = "/dev/null"\n' for name in names)
        )
        # Nothing is read from the disk in what follows.
        _curl(server, config)
        for number in range(rounds):
            ways: list[tuple[str, Callable[[], tuple[float, float]]]] = [
                ("curl", lambda: _curl(server, config))
            ]
            for way in WAYS:
                cache = str(folder / f"cache-{number}") if way == "path" else ""
                ways.append((way, lambda way=way, cache=cache: _dataset(server, way, cache, episodes)))  # type: ignore[misc]
            # Nobody is always the first.
            for way, run in ways[number % len(ways) :] + ways[: number % len(ways)]:
                meter = server.meter()
                seconds, cpu = run()
                found[way].append(Taken(seconds, cpu, meter.read().cpu_seconds))
    finally:
        server.stop()
    return found


def _fill(data: Path, count: int) -> list[str]:
    """A data folder with so many episodes, each of other bytes; gives their names."""
    names = []
    data.mkdir(parents=True)
    now = time.time_ns()
    content = random.Random(1).randbytes(SIZE_BYTES - 8)
    with open(data / "index.jsonl", "wb") as index:
        for number in range(count):
            body = number.to_bytes(8, "big") + content
            at_ns = now - (count - number) * 1_000_000_000
            record = Episode(
                host_id=f"lab-{number % HOSTS}",
                episode_id=f"stored-{number}",
                sha256=hashlib.sha256(body).hexdigest(),
                size_bytes=len(body),
                received_at_wall=wall_time(at_ns),
                received_at_ns=at_ns,
            )
            path = data / "episodes" / record.host_id / record.key.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            index.write(record.to_line())
            names.append(f"{record.host_id}/{record.key.file_name}")
    return names


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def _curl(server: Server, config: Path) -> tuple[float, float]:
    command = ["curl", "--parallel", "--silent", "--show-error", "--fail", "--no-progress-meter"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--config", str(config)]
    return _timed(command)[:2]


def _dataset(server: Server, way: str, cache: str, episodes: int) -> tuple[float, float]:
    code = _READ.format(read=WAYS[way])
    _, _, text = _timed([sys.executable, "-c", code, _url(server), TOKEN, cache])
    count, seconds, cpu = text.split()
    if int(count) != episodes:
        raise RuntimeError(f"{count} of {episodes} episodes were read")
    return float(seconds), float(cpu)


def _timed(command: list[str]) -> tuple[float, float, str]:
    before = _cpu_of_children()
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return time.perf_counter() - began, _cpu_of_children() - before, done.stdout


def _cpu_of_children() -> float:
    """The CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())

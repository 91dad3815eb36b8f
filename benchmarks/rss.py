"""Whether a worker's memory stays small while it takes a large episode: python -m benchmarks.rss

Prints how far the worker's peak RSS was above its idle one; exit status 1 when that is too much.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.bodies import digest
from benchmarks.client import Job, drive
from benchmarks.servers import OURS, TOKEN, Server

MIB = 1 << 20
LIMIT_MIB = 80


def main() -> int:
    """Measure one upload."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rss", description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of the episode")
    parser.add_argument("--limit", type=int, default=LIMIT_MIB, metavar="MIB", help="what is too much")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder to store it in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cis490-rss-", dir=options.disk) as folder:
        grown = _grown_mib(Path(folder), options.mib * MIB)
    print(
        f"one PUT of {options.mib} MiB: peak RSS {grown:.1f} MiB above idle; the limit is {options.limit} MiB"
    )
    return 1 if grown > options.limit else 0


def _grown_mib(folder: Path, size_bytes: int) -> float:
    server = Server(OURS, folder / OURS, workers=1)
    try:
        server.start()
        # What the first request imports is not the upload's.
        drive(Job(server.port, TOKEN, "warm", 1, MIB, digest(MIB)))
        meter = server.meter()
        drive(Job(server.port, TOKEN, "large", 1, size_bytes, digest(size_bytes)))
        return meter.read().grown_bytes / MIB
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())

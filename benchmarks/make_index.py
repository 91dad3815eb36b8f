"""Make a data folder whose index has many lines: `python -m benchmarks.make_index DIR [LINES]`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from cis490_receiver.models import Episode, wall_time

HOSTS = 200
FIRST_NS = 1_750_000_000 * 10**9
STEP_NS = 30 * 10**9
PROFILES = ("idle", "web_visitor", "admin_session", "db_query")


def line(number: int) -> bytes:
    """A plausible line; the same number gives the same line."""
    ns = FIRST_NS + number * STEP_NS
    return Episode(
        host_id=f"lab-{number % HOSTS:03}",
        episode_id=f"run-{number:08}",
        sha256=hashlib.sha256(b"%d" % number).hexdigest(),
        size_bytes=1000 + number % 100_000,
        schema_version=2,
        code_commit=f"{number // 20_000:040x}",
        episode_type="infected" if number % 3 == 0 else "control",
        benign_profile=PROFILES[number % 4],
        received_at_wall=wall_time(ns),
        received_at_ns=ns,
    ).to_line()


def make(folder: Path, lines: int) -> None:
    """Write `lines` lines to the index in `folder`; no episodes."""
    for name in ("episodes", "incoming"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (folder / "index.jsonl").open("wb") as journal:
        for start in range(0, lines, 10_000):
            journal.write(b"".join(line(number) for number in range(start, min(lines, start + 10_000))))


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)

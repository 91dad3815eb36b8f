"""A data folder with a long index."""

from __future__ import annotations

import time
from pathlib import Path

from cis490_receiver.models import Episode, wall_time

_HOSTS = 20
_SECOND = 1_000_000_000


def fill_index(data: Path, lines: int) -> None:
    """Write an index.jsonl of `lines` records, one a second up to now, as `_HOSTS` hosts would have left it."""
    data.mkdir(parents=True)
    now = time.time_ns()
    with open(data / "index.jsonl", "wb", buffering=1 << 20) as stream:
        for number in range(lines):
            stream.write(_line(number, now - (lines - number) * _SECOND))


def _line(number: int, at_ns: int) -> bytes:
    return Episode(
        host_id=f"lab-{number % _HOSTS}",
        episode_id=f"stored-{number}",
        sha256=f"{number:064x}",
        size_bytes=65536,
        schema_version=2,
        code_commit=f"{number % 50:040x}",
        episode_type="control",
        benign_profile="idle",
        received_at_wall=wall_time(at_ns),
        received_at_ns=at_ns,
    ).to_line()

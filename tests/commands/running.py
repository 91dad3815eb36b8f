"""Run the installed program."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from cis490_receiver.models import Episode
from tests.support.receiver import BIN, clean_environment

PROGRAM = str(BIN / "cis490-receiver")


def run(*words: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, outside of any terminal, with these settings in the environment."""
    return subprocess.run(
        [PROGRAM, *map(str, words)],
        env=clean_environment(syslog_address="", **settings),
        capture_output=True,
        text=True,
        timeout=120,
    )


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON object that it printed."""
    return json.loads(done.stdout)


def write_index(folder: Path, lines: int) -> None:
    """A data folder whose index names `lines` episodes; no episodes."""
    for name in ("episodes", "incoming"):
        (folder / name).mkdir(parents=True)
    with (folder / "index.jsonl").open("wb") as journal:
        for number in range(lines):
            journal.write(line(number))


def line(number: int) -> bytes:
    ns = (1_760_000_000 + number) * 10**9
    return Episode(
        host_id=f"h{number % 3}",
        episode_id=f"e{number}",
        sha256=f"{number:064x}",
        size_bytes=1000,
        episode_type="control",
        received_at_wall="2025-10-09T08:53:20Z",
        received_at_ns=ns,
    ).to_line()

"""Snapshots as gate-refresh writes them, without a git."""

from __future__ import annotations

import time
from pathlib import Path

from cis490_receiver.files import atomic
from cis490_receiver.models import wall_time
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot
from cis490_receiver.state.gate_list import GATE_FILE


def commit_id(number: int) -> str:
    return f"{number:040x}"


def make_snapshot(*numbers: int, older: tuple[int, ...] = (), age_seconds: int = 0) -> GateSnapshot:
    """A snapshot that accepts the commits `numbers`, the head first."""
    now_ns = time.time_ns() - age_seconds * 10**9
    return GateSnapshot(
        repo="/srv/orchestrator.git",
        ref="origin/main",
        head=commit_id(numbers[0]),
        window=len(numbers),
        commits=tuple(GateCommit(commit_id(n), "2026-01-02T03:04:05+00:00", f"step {n}") for n in numbers),
        older=tuple(commit_id(n) for n in older),
        refreshed_at_wall=wall_time(now_ns),
        refreshed_at_ns=now_ns,
    )


def write(folder: Path, snapshot: GateSnapshot) -> None:
    """Put it where a receiver on `folder` looks for it."""
    atomic.replace_file(folder / GATE_FILE, snapshot.to_json())

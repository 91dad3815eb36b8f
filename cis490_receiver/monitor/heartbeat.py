"""The other program that watches: a mark that the fleet monitor leaves, so that its absence is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HEARTBEAT_FILE: Final = "health-check.heartbeat"
#: Three runs that did not come.
STALE_SECONDS: Final = 900


def touch(data_dir: Path) -> None:
    """Say that the monitor ran now."""
    (data_dir / HEARTBEAT_FILE).touch(mode=0o640)


def age_seconds(data_dir: Path, now_ns: int) -> float | None:
    """How long ago it last ran; None when it never did, or the mark is so far in the future that it tells nothing: the
    clock was set back, and it has not run since."""
    try:
        age = (now_ns - (data_dir / HEARTBEAT_FILE).stat().st_mtime_ns) / 1e9
    except OSError:
        return None
    return None if age < -STALE_SECONDS else age

"""Hosts that are known to be away: their symptoms are shown and not raised, until a given time."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cis490_receiver import atomic

MUTES_FILE: Final = "mutes.json"
_UNIT_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Mute:
    """Who is muted, until when (nanoseconds since the epoch), and why."""

    host_id: str
    until_ns: int
    why: str


class MuteFile:
    """The mutes of one receiver."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / MUTES_FILE

    def active(self, now_ns: int) -> dict[str, Mute]:
        """The mutes in force, by host. A file that cannot be read mutes nobody."""
        try:
            items = [Mute(**item) for item in json.loads(self._path.read_bytes())]
        except (OSError, ValueError, TypeError):
            return {}
        return {item.host_id: item for item in items if item.until_ns > now_ns}

    def set(self, mute: Mute, now_ns: int) -> None:
        """Mute a host, in place of any mute that it has."""
        self._write(self.active(now_ns) | {mute.host_id: mute})

    def end(self, host_id: str, now_ns: int) -> bool:
        """Unmute a host; gives whether it was muted."""
        mutes = self.active(now_ns)
        was = mutes.pop(host_id, None)
        self._write(mutes)
        return was is not None

    def _write(self, mutes: dict[str, Mute]) -> None:
        text = json.dumps([asdict(mute) for mute in mutes.values()], indent=1)
        atomic.replace_file(self._path, text.encode("ascii") + b"\n")


def parse_duration(text: str) -> int:
    """Seconds of a duration such as ``90m``, ``36h``, ``3d`` or ``2w``.

    Raises:
        ValueError: it is none, or longer than a year.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip().lower())
    if not match or (seconds := int(match[1]) * _UNIT_SECONDS[match[2]]) > 366 * 86400:
        raise ValueError("give a duration such as 90m, 36h, 3d or 2w, at most a year")
    return seconds

"""Hosts that are known to be away: their symptoms are shown and not raised, until a given time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic

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
            return {item.host_id: item for item in items if item.until_ns > now_ns}
        except (OSError, ValueError, TypeError, RecursionError):
            return {}

    def set(self, mute: Mute, now_ns: int) -> None:
        """Mute a host, in place of any mute that it has."""
        self._change(lambda mutes: mutes | {mute.host_id: mute}, now_ns)

    def end(self, host_id: str, now_ns: int) -> bool:
        """Unmute a host; gives whether it was muted."""
        was = host_id in self.active(now_ns)
        self._change(lambda mutes: {name: mute for name, mute in mutes.items() if name != host_id}, now_ns)
        return was

    def _change(self, change: Callable[[dict[str, Mute]], dict[str, Mute]], now_ns: int) -> None:
        """Two changes at once follow one another."""

        def content() -> bytes:
            mutes = change(self.active(now_ns)).values()
            return json.dumps([asdict(mute) for mute in mutes], indent=1).encode("ascii") + b"\n"

        atomic.replace_file(self._path, content)


def parse_duration(text: str) -> int:
    """Seconds of a duration such as ``90m``, ``36h``, ``3d`` or ``2w``.

    Raises:
        ValueError: it is none, or longer than a year.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip().lower())
    if not match or (seconds := int(match[1]) * _UNIT_SECONDS[match[2]]) > 366 * 86400:
        raise ValueError("give a duration such as 90m, 36h, 3d or 2w, at most a year")
    return seconds

"""Hosts that are known to be away: their symptoms are shown and not raised, until a given time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver.monitor.notes import Note, NoteFile, host_in, text_in, time_in

MUTES_FILE: Final = "mutes.json"


@dataclass(frozen=True, slots=True)
class Mute(Note):
    """Who is muted, until when (nanoseconds since the epoch), and why."""

    until_ns: int
    why: str


class MuteFile:
    """The mutes of one receiver. Two changes at once follow one another."""

    def __init__(self, data_dir: Path) -> None:
        self._notes = NoteFile(data_dir / MUTES_FILE, _parse)

    def active(self, now_ns: int) -> dict[str, Mute]:
        """The mutes in force, by host. A file that cannot be read mutes nobody."""
        return _in_force(self._notes.read(), now_ns)

    def set(self, mute: Mute, now_ns: int) -> None:
        """Mute a host, in place of any mute that it has."""
        self._notes.change(lambda mutes: _in_force(mutes, now_ns) | {mute.host_id: mute})

    def end(self, host_id: str, now_ns: int) -> bool:
        """Unmute a host; gives whether it was muted."""
        was = False

        def without(mutes: dict[str, Mute]) -> dict[str, Mute]:
            nonlocal was
            left = _in_force(mutes, now_ns)
            was = left.pop(host_id, None) is not None
            return left

        self._notes.change(without)
        return was


def _in_force(mutes: Mapping[str, Mute], now_ns: int) -> dict[str, Mute]:
    return {host_id: mute for host_id, mute in mutes.items() if mute.until_ns > now_ns}


def _parse(item: Mapping[str, Any]) -> Mute:
    return Mute(host_in(item), time_in(item, "until_ns"), text_in(item, "why"))

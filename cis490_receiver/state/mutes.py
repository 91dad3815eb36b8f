"""mutes.json: hosts that are known to be away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cis490_receiver.state.base.notes import Mute
from cis490_receiver.state.notes import NoteFile, host_in, text_in, time_in

MUTES_FILE: Final = "mutes.json"


class MuteFile:
    """See `state.base.notes.Mutes`."""

    def __init__(self, data_dir: Path) -> None:
        self._notes = NoteFile(data_dir / MUTES_FILE, parse_mute)

    def active(self, now_ns: int) -> dict[str, Mute]:
        """See `Mutes.active`."""
        return _in_force(self._notes.read(), now_ns)

    def set(self, mute: Mute, now_ns: int) -> None:
        """See `Mutes.set`."""
        self._notes.change(lambda mutes: _in_force(mutes, now_ns) | {mute.host_id: mute})

    def end(self, host_id: str, now_ns: int) -> bool:
        """See `Mutes.end`."""
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


def parse_mute(item: Mapping[str, Any]) -> Mute:
    """The mute in a JSON object. ValueError when it is none."""
    return Mute(host_in(item), time_in(item, "until_ns"), text_in(item, "why"))

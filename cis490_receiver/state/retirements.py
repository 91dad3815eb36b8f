"""retired.json: hosts that are gone for good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cis490_receiver.state.base.notes import Retirement
from cis490_receiver.state.notes import NoteFile, host_in, text_in, time_in

RETIRED_FILE: Final = "retired.json"


class RetirementFile:
    """See `state.base.notes.Retirements`."""

    def __init__(self, data_dir: Path) -> None:
        self._notes = NoteFile(data_dir / RETIRED_FILE, parse_retirement)

    def all(self) -> dict[str, Retirement]:
        """See `Retirements.all`."""
        return self._notes.read()

    def set(self, retirement: Retirement) -> None:
        """See `Retirements.set`."""
        self._notes.change(lambda notes: notes | {retirement.host_id: retirement})

    def end(self, host_id: str) -> None:
        """See `Retirements.end`."""
        self._notes.change(lambda notes: {name: note for name, note in notes.items() if name != host_id})


def parse_retirement(item: Mapping[str, Any]) -> Retirement:
    """The retirement in a JSON object. ValueError when it is none."""
    last = None if item.get("last_stored_at_ns") is None else time_in(item, "last_stored_at_ns")
    return Retirement(host_in(item), time_in(item, "at_ns"), last, text_in(item, "why"))

"""Hosts that are gone for good: nothing is raised about them, until they ship again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver.monitor.notes import Note, NoteFile, host_in, text_in, time_in

RETIRED_FILE: Final = "retired.json"


@dataclass(frozen=True, slots=True)
class Retirement(Note):
    """Who is retired, since when (nanoseconds since the epoch), and why."""

    at_ns: int
    #: When its last episode had come by then; None when none had. It may be later than `at_ns`: the clock was
    #: ahead when that episode came.
    last_stored_at_ns: int | None
    why: str

    def holds(self, last_stored_at_ns: int | None) -> bool:
        """Whether it is in force for a host whose last episode came at `last_stored_at_ns`. An episode that came
        after the retirement has undone it, for good."""
        return (last_stored_at_ns or 0) <= max(self.at_ns, self.last_stored_at_ns or 0)


class RetirementFile:
    """The retirements of one receiver, also those that an episode has undone. Two changes at once follow one
    another."""

    def __init__(self, data_dir: Path) -> None:
        self._notes = NoteFile(data_dir / RETIRED_FILE, _parse)

    def all(self) -> dict[str, Retirement]:
        """By host. A file that cannot be read retires nobody."""
        return self._notes.read()

    def set(self, retirement: Retirement) -> None:
        """Retire a host, in place of any retirement that it has."""
        self._notes.change(lambda notes: notes | {retirement.host_id: retirement})

    def end(self, host_id: str) -> None:
        """Forget the retirement of a host, if it has one."""
        self._notes.change(lambda notes: {name: note for name, note in notes.items() if name != host_id})


def _parse(item: Mapping[str, Any]) -> Retirement:
    last = None if item.get("last_stored_at_ns") is None else time_in(item, "last_stored_at_ns")
    return Retirement(host_in(item), time_in(item, "at_ns"), last, text_in(item, "why"))

"""What people say about hosts: one note a host and kind.

After a crash there are all notes from before a change or all from after it; changes at once, by any number of
processes, follow one another. Notes that cannot be read hold nothing, and the log says so: a monitor that is told of
too much is better than none. They are not changed then, since every note among them would be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a host, made of texts and numbers."""

    host_id: str


@dataclass(frozen=True, slots=True)
class Mute(Note):
    """Who is muted, until when (nanoseconds since the epoch), and why."""

    until_ns: int
    why: str


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


class Mutes(Protocol):
    """Hosts that are known to be away: their symptoms are shown and not raised, until a given time."""

    def active(self, now_ns: int) -> Mapping[str, Mute]:
        """The mutes in force, by host."""
        ...

    def set(self, mute: Mute, now_ns: int) -> None:
        """Mute a host, in place of any mute that it has. Once this returns it is on stable storage.

        Raises:
            ConfigError: the notes are damaged, and stay as they are.
            StorageFailed: nothing was changed.
        """
        ...

    def end(self, host_id: str, now_ns: int) -> bool:
        """Unmute a host, as durably as `set`; gives whether it was muted.

        Raises:
            ConfigError, StorageFailed: as `set`.
        """
        ...


class Retirements(Protocol):
    """Hosts that are gone for good: nothing is raised about them, until they ship again."""

    def all(self) -> Mapping[str, Retirement]:
        """The retirements by host, also those that an episode has undone."""
        ...

    def set(self, retirement: Retirement) -> None:
        """Retire a host, in place of any retirement that it has. Once this returns it is on stable storage.

        Raises:
            ConfigError: the notes are damaged, and stay as they are.
            StorageFailed: nothing was changed.
        """
        ...

    def end(self, host_id: str) -> None:
        """Forget the retirement of a host, if it has one, as durably as `set`.

        Raises:
            ConfigError, StorageFailed: as `set`.
        """
        ...

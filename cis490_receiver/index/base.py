"""What an index of episodes has to do, whatever it is made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from cis490_receiver.models import Episode, EpisodeKey, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which episodes a page holds; None is any."""

    host: str | None = None
    #: First moment, inclusive.
    since: dt.datetime | None = None
    #: Last moment, exclusive.
    until: dt.datetime | None = None
    episode_type: str | None = None
    benign_profile: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Episodes, newest first, and the opaque cursor of the next page (None at the end)."""

    episodes: Sequence[Episode]
    next: str | None


@dataclass(frozen=True, slots=True)
class HostSummary:
    """What was stored of one host. Times in nanoseconds since the epoch."""

    host_id: str
    first_received_at_ns: int
    last_received_at_ns: int
    episodes: int
    size_bytes: int
    last_episode_id: str
    last_code_commit: str | None


class EpisodeIndex(Protocol):
    """The training set's table of contents. Any number of processes and threads may use it at once."""

    def append(self, episode: Episode) -> None:
        """Add a record, durably. The caller sees to it that the episode has none yet.

        After a crash the record is there whole or not at all; once this returns it is there.

        Raises:
            StorageFull, StorageFailed: it is not there.
        """
        ...

    def make_durable(self) -> None:
        """Put every record that can be seen on stable storage, whoever appended it. After a crash no other
        one is there: a record that was torn is mended or gone, one that was taken back stays away.

        Raises:
            StorageFull, StorageFailed: it could not be done; the next call does it anew.
        """
        ...

    def find(self, key: EpisodeKey) -> Episode | None:
        """The record of `key`, including one that was appended a moment ago by another process."""
        ...

    def page(self, filters: Filters, *, limit: int, cursor: str | None) -> Page:
        """The newest `limit` episodes that pass `filters`, after `cursor`.

        Raises:
            BadRequest: `cursor` is none that this index gave.
        """
        ...

    def hosts(self) -> Sequence[HostSummary]:
        """A summary for every host that has a record, sorted by host. Costs what there are hosts."""
        ...

    def open_journal(self) -> tuple[BinaryIO, int]:
        """All records as JSON lines: a stream, and the length in bytes of its whole lines."""
        ...


class RejectionLog(Protocol):
    """The refused PUTs: bounded, lossy under a flood, never in the way of the intake."""

    def record(self, rejection: Rejection) -> None:
        """Note a refusal. Never raises and never waits for a disk."""
        ...

"""What an index of episodes has to do, whatever it is made of."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from cis490_receiver.clock import Clock
from cis490_receiver.filters import Filters
from cis490_receiver.index.base.renewal import Renewal
from cis490_receiver.models import Episode, EpisodeKey, Rejection, Report
from cis490_receiver.progress import Progress
from cis490_receiver.withdrawal import Withdrawal


@dataclass(frozen=True, slots=True)
class Page:
    """Episodes, newest first, and the opaque cursor of the next page (None at the end)."""

    episodes: Sequence[Episode]
    next: str | None
    #: Of these episodes, the ones that are withdrawn; filled where they were asked for.
    withdrawn: Mapping[EpisodeKey, Withdrawal] = field(default_factory=dict)

    def records(self, filters: Filters) -> list[dict[str, Any]]:
        """The records as they stand in JSON, of the page that `filters` chose. Where those ask for withdrawn episodes,
        each says when and why it was withdrawn, or null."""
        found = [episode.as_dict() for episode in self.episodes]
        if filters.withdrawn != "exclude":
            for episode, record in zip(self.episodes, found, strict=True):
                withdrawal = self.withdrawn.get(episode.key)
                record["withdrawn_at_wall"] = withdrawal.at_wall if withdrawal else None
                record["withdrawn_why"] = withdrawal.why if withdrawal else None
        return found


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
    #: Of these episodes, those that are withdrawn.
    withdrawn: int = 0


@dataclass(frozen=True, slots=True)
class Total:
    """How many episodes, and how many bytes, are in one group.

    Attributes:
        group: its value of each dimension that was asked for; a day is ``YYYY-MM-DD``, an absent stamp None.
    """

    group: Mapping[str, str | None]
    episodes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class OpenJournal:
    """All records as JSON lines, as they were when this was opened.

    Attributes:
        stream: the lines; whoever opened it closes it.
        end: the length in bytes of the whole lines. What follows is being written.
        generation: what offsets belong to: as long as it is the same, nothing before an offset has changed.
        modified_ns: when the lines last changed, in nanoseconds since the epoch.
    """

    stream: BinaryIO
    end: int
    generation: str
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The index lines of some episodes, as they stood at one moment.

    Attributes:
        lines: each as it was appended, newline included, sorted by host and then episode; to be read once.
        episodes, size_bytes, hosts: how many episodes they are, how many bytes these have, of how many hosts.
    """

    lines: Iterator[bytes]
    episodes: int
    size_bytes: int
    hosts: int


class EpisodeIndex(Protocol):
    """The training set's table of contents. Any number of processes and threads may use it at once."""

    def append(self, episode: Episode, placed: str = "") -> bool:
        """Add a record, durably. `placed` is what `storage.base.Incoming.publish` gave: it belongs to the record where
        an episode's name does not say where its bytes are.

        After a crash the record is there whole or not at all; once this returns True it is there.

        Returns:
            False when another writer's record of this episode is there. Where a name is given to the bytes first, as on
            a local disk, that has decided already, and the caller sees to it that the episode has none yet.

        Raises:
            StorageFull, StorageFailed: it is not there.
        """
        ...

    def check_writable(self) -> None:
        """Raises:
        StorageFailed: nothing can be appended now.
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

    def withdrawal(self, key: EpisodeKey) -> Withdrawal | None:
        """Why the episode `key` is withdrawn; None when it is not."""
        ...

    def page(self, filters: Filters, *, limit: int, cursor: str | None) -> Page:
        """The newest `limit` episodes that pass `filters`, after `cursor`.

        Raises:
            BadRequest: `cursor` is none that this index gave.
        """
        ...

    def selection(self, filters: Filters) -> AbstractContextManager[Selection]:
        """The lines of the episodes that pass `filters` and are not withdrawn. Each of them is on stable storage, and
        they are what stands at one moment, whatever is appended or withdrawn meanwhile. Memory does not grow with
        them, but for some bytes each.

        Raises:
            StorageFull, StorageFailed: they cannot be had.
        """
        ...

    def sample(self, count: int, choose: random.Random) -> Sequence[Episode]:
        """At most `count` episodes that chance picks, each about as likely as any other. Costs what it gives,
        not what there are episodes."""
        ...

    def size_bytes(self, filters: Filters, *, cursor: str | None = None) -> int:
        """How many bytes the episodes have that pass `filters`, from `cursor` on.

        Raises:
            BadRequest: as `page`.
        """
        ...

    def count(self, filters: Filters) -> int:
        """How many episodes pass `filters`."""
        ...

    def hosts(self) -> Sequence[HostSummary]:
        """A summary for every host that has a record, sorted by host. Costs what there are hosts."""
        ...

    def totals(self, filters: Filters, by: Sequence[str], *, limit: int) -> Sequence[Total]:
        """The sums over the episodes that pass `filters`, one for each group that has any, at most `limit`, sorted by
        the group. `by` names some of `models.DIMENSIONS`; none makes one group of all.

        Costs what there are groups where it is asked for no more than the kind and either host or day, or for host, day
        and type, and the filters are among these, of whole days. Else it costs what there are episodes that pass."""
        ...

    def arrivals(self, since_ns: int, step_ns: int, steps: int) -> Mapping[str, Sequence[int]]:
        """How many episodes came in each of `steps` intervals of `step_ns` nanoseconds from `since_ns` on, for each
        host that sent any. Costs what there are episodes in that time, though little for each."""
        ...

    def unstamped_since(self, ns: int) -> Mapping[str, int]:
        """How many episodes without a code commit came since `ns`, for each host that sent any."""
        ...

    def bad_lines(self) -> int:
        """How many lines of the index are no records."""
        ...

    def tell_progress(self, progress: Progress) -> None:
        """Tell of what the first question may have to wait for, from now on."""
        ...

    def close(self) -> None:
        """Close what is held open, as must be done before a fork; the next call opens it again."""
        ...

    def renewal(self, clock: Clock) -> Renewal:
        """The way to make the index anew; `clock` tells when a line was set aside."""
        ...

    def open_journal(self) -> OpenJournal:
        """All records as JSON lines."""
        ...


class WithdrawalLog(Protocol):
    """Which episodes are not to be trained on. Any number of processes may use it at once."""

    def append(self, items: Sequence[Withdrawal]) -> None:
        """Say it of all `items` in one step. Once this returns they are on stable storage, as is everything that could
        be seen before, with no items too; after a crash before that all of them are there or none.

        Raises:
            StorageFull, StorageFailed: none of them is there.
        """
        ...

    def items(self) -> Iterator[Withdrawal]:
        """All that was ever said, in its order; the last about an episode counts. What cannot be read is left out and
        logged."""
        ...


class RejectionLog(Protocol):
    """The PUTs that stored nothing: bounded, lossy under a flood, never in the way of the intake."""

    def record(self, rejection: Rejection) -> None:
        """Note a refusal, or a repeat of what is stored (status 200). Never raises and never waits for a
        disk."""
        ...

    def take_over(self, facts: Sequence[Rejection]) -> None:
        """Note `facts` of another place, the oldest first, whatever their rate is. They need not be on stable storage.

        Raises:
            StorageFull, StorageFailed: some may be there and some not.
        """
        ...

    def since(self, ns: int) -> Iterator[Rejection]:
        """What was noted since `ns` (nanoseconds since the epoch), newest first, in each of its kinds: the
        authenticated, the repeats, the unauthenticated."""
        ...


@dataclass(frozen=True, slots=True)
class PastReport:
    """A line of a host's history of reports: when, and which checks failed."""

    received_at_wall: str
    received_at_ns: int
    failed: tuple[str, ...]


class ReportStore(Protocol):
    """The hosts' doctor reports: the latest of each, and a short history."""

    def parse(self, body: bytes) -> dict[str, Any]:
        """Read a report as it was sent.

        Raises:
            ReportNotJson, ReportNotObject: it is not one.
        """
        ...

    def put(self, host_id: str, doctor: dict[str, Any], now_ns: int) -> None:
        """Make `doctor` the latest report of `host_id`. Once this returns it is on stable storage; after a
        crash there is the one before or this one, whole.

        Raises:
            StorageFull, StorageFailed: it could not be stored; the one before stands.
        """
        ...

    def take_over(self, report: Report, history: Sequence[PastReport]) -> None:
        """Make `report` of another place the latest one of its host, and `history` all of its history, as `put` does.

        Raises:
            StorageFull, StorageFailed: not all of it is there.
        """
        ...

    def get(self, host_id: str) -> Report:
        """The latest report of `host_id`.

        Raises:
            NotFound: there is none that can be read.
        """
        ...

    def history(self, host_id: str) -> Sequence[PastReport]:
        """The reports of the last 30 days, oldest first."""
        ...

    def all_json(self) -> Iterator[bytes]:
        """The latest report of every host, sorted by host, each as its JSON object; one that cannot be
        read is skipped and logged."""
        ...

    def all(self) -> Iterator[Report]:
        """The latest report of every host, sorted by host."""
        ...

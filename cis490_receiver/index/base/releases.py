"""What keeping releases has to do, whatever they are kept in.

A release is a frozen table of contents: the index lines that a paper or a training run names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, Self

from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import Selection
from cis490_receiver.models import EpisodeKey


class ReleaseExists(ReceiverError):
    """The name is taken; what bears it is never changed."""

    code = "release-exists"

    @classmethod
    def named(cls, name: str) -> Self:
        """That `name` is taken."""
        return cls(f"there is a release {name} already, and none is ever changed; take another name")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of a release by whoever makes it.

    Attributes:
        created_at_wall: when; UTC.
        filters: what chose its episodes, by the filters' names, as text.
        why: what it is for, a line of text; may be empty.
        by: who made it.
    """

    created_at_wall: str
    filters: Mapping[str, str]
    why: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release.

    Attributes:
        name: obeys the id rule.
        sha256, size_bytes: of its table, which is all that ever has to be compared.
        episodes, episode_bytes, hosts: how many episodes it has, how many bytes these have, of how many hosts.
        about: what was said of it. Of a table whose description was lost, all but the time is empty.
    """

    name: str
    sha256: str
    size_bytes: int
    episodes: int
    episode_bytes: int
    hosts: int
    about: About


def as_record(release: Release, withdrawn_since: int | None) -> dict[str, Any]:
    """A release as JSON tells of it, with how many of its episodes were withdrawn since (None: it cannot be told)."""
    return {
        "name": release.name,
        "sha256": release.sha256,
        "size_bytes": release.size_bytes,
        "episodes": release.episodes,
        "episode_bytes": release.episode_bytes,
        "hosts": release.hosts,
        "created_at_wall": release.about.created_at_wall,
        "filters": dict(release.about.filters),
        "why": release.about.why,
        "by": release.about.by,
        "withdrawn_since": withdrawn_since,
    }


@dataclass(frozen=True, slots=True)
class OpenRelease:
    """A release, and its table: index lines with their newlines, sorted by host and then episode.

    Attributes:
        stream: the lines; whoever opened it closes it.
        modified_ns: when the table was made, in nanoseconds since the epoch.
    """

    release: Release
    stream: BinaryIO
    modified_ns: int


class Releases(Protocol):
    """The releases. Any number of processes and threads may use them at once."""

    def create(self, name: str, selection: Selection, about: About) -> Release:
        """Freeze `selection` under `name`, which obeys the id rule. Once this returns the release is on stable storage
        and never changes; after a crash before that, there is all of it or none.

        Raises:
            ReleaseExists: the name is taken, if only since a moment ago; what has it stays.
            StorageFull, StorageFailed: it is not there.
        """
        ...

    def all(self) -> Sequence[Release]:
        """All of them, the newest first."""
        ...

    def find(self, name: str) -> Release | None:
        """The release `name`; None when there is none."""
        ...

    def open(self, name: str) -> OpenRelease | None:
        """The release `name`, to be read; None when there is none.

        Raises:
            ReleaseDamaged: its table is gone, or has another length.
            StorageFailed: it cannot be read.
        """
        ...

    def count_withdrawn(self, release: Release) -> int | None:
        """How many of its episodes are withdrawn now, which none was when it was made; None when that cannot be told,
        because its table is damaged."""
        ...

    def withdrawn(self, release: Release) -> Sequence[EpisodeKey]:
        """These episodes, sorted."""
        ...

"""Which object is which episode, where objects are kept in a store whose names decide nothing.

An upload is noted before its first byte, under an object's name that no other upload has. The record of the episode
takes the place of that note, in one step of the index (`index.base.EpisodeIndex.append`): so an object is an episode,
an upload under way or garbage, and who deletes garbage gives the upload up first. A writer that was slower than
anybody's patience finds that, and cannot make an episode of an object that is being deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from cis490_receiver.models import EpisodeKey


@dataclass(frozen=True, slots=True)
class Placement:
    """An episode and its object.

    Attributes:
        object_key: the whole name of the object in its bucket.
        size_bytes: the length of its bytes.
        sha256: their digest, 64 hex digits.
        modified_ns: when they came, in nanoseconds since the epoch.
    """

    object_key: str
    size_bytes: int
    sha256: str
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it.

    Attributes:
        object_key: its whole name.
        size_bytes: its length.
        modified_ns: when it was written, in nanoseconds since the epoch by the store's clock.
    """

    object_key: str
    size_bytes: int
    modified_ns: int


class Objects(Protocol):
    """The objects themselves, whatever they are."""

    def list(self) -> Iterator[Listed]:
        """Every object of episodes and uploads that can be seen.

        Raises:
            StorageFailed: they cannot be listed.
        """
        ...

    def delete(self, object_key: str) -> None:
        """Delete an object, if it is there.

        Raises:
            StorageFailed: it may be there still.
        """
        ...


class Placements(Protocol):
    """What is known of the objects. Any number of processes and threads may use it at once.

    Every method raises StorageFailed or its subclass StoreUnavailable when it cannot do what it says.
    """

    def now_ns(self) -> int:
        """The time by the clock that notes are dated with, in nanoseconds since the epoch."""
        ...

    def register(self, key: EpisodeKey, object_key: str) -> None:
        """Note, durably, that an upload of `key` is about to write the object `object_key`."""
        ...

    def give_up(self, object_key: str) -> bool:
        """Give one upload up, durably, for who makes it. Its note stays.

        Returns:
            True when no episode can come of the object any more, and it may be deleted. False when it may not: it is an
            episode, or was put aside.
        """
        ...

    def find(self, key: EpisodeKey) -> Placement | None:
        """Where `key` is; None when it is nowhere. Says nothing of durability."""
        ...

    def confirm(self, key: EpisodeKey) -> Placement | None:
        """The same, and what it tells survives the loss of any one machine: a record can be seen before that."""
        ...

    def set_aside(self, key: EpisodeKey, object_key: str) -> bool:
        """Let `key` lead to nothing, durably, and remember `object_key` as put aside; False when it was not the
        object of `key`. Its object stays."""
        ...

    def give_up_old(self, before_ns: int) -> Iterator[str]:
        """Let no episode come of the uploads that were noted before `before_ns` (nanoseconds since the epoch, by the
        clock of the place itself) and are noted still, durably; gives their objects. Their notes stay, as a writer
        may be under way."""
        ...

    def given_up(self, before_ns: int) -> Iterator[str]:
        """The objects of those that were given up before `before_ns`."""
        ...

    def forget(self, object_keys: Sequence[str]) -> None:
        """Take away the notes of uploads that were given up."""
        ...

    def unknown(self, object_keys: Sequence[str]) -> AbstractSet[str]:
        """Those of `object_keys` that are no upload's, no episode's, and not put aside."""
        ...

    def all_keys(self) -> Iterator[EpisodeKey]:
        """Every episode that has an object, in no particular order."""
        ...


class Noted(Protocol):
    """Objects that something is made of, such as the pieces of uploads and the tables of releases. Each is noted before
    its first byte, and its note goes last: one that nobody needs any more can always be found."""

    def garbage(self, *, older_than_seconds: float) -> Iterator[str]:
        """The objects that were noted so long ago, by the clock of the place, and became nothing, and those that nobody
        needs any more. Nothing comes of them from then on: a writer that was slower finds its own gone.

        Raises:
            StorageFailed: they cannot be told.
        """
        ...

    def forget(self, object_keys: Sequence[str]) -> None:
        """Take away the notes of garbage that was deleted.

        Raises:
            StorageFailed: they may be there still.
        """
        ...

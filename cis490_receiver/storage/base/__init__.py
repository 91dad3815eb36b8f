"""What a place for episodes has to do, whatever it is made of.

Speaks of keys, streams and digests, never of paths. "Publish if absent" is part of the contract: of all
writers of a name exactly one wins, and nothing that was published is ever replaced.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, Self

from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    """The bytes of a published episode, which never change. Leaving its context closes the stream.

    Attributes:
        stream: the bytes, from the first one on; seekable. Whoever opened it closes it.
        size_bytes: how many they are.
        modified_ns: when they were written, in nanoseconds since the epoch.
    """

    stream: BinaryIO
    size_bytes: int
    modified_ns: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.close()


class Incoming(Protocol):
    """An upload under way, private to its writer until it is published.

    Leaving the context discards it unless it was published; once it was published and not settled, the
    trace that lets `EpisodeStore.unsettled` find it stays.
    """

    @property
    def size_bytes(self) -> int:
        """How many bytes were committed."""
        ...

    def lend(self) -> memoryview:
        """A buffer for the next bytes of the body, good until `commit`.

        Raises:
            StorageFull, StorageFailed: bytes that were committed before could not be written.
        """
        ...

    def commit(self, count: int) -> None:
        """Append the first `count` bytes of the lent buffer. They may be written a little later.

        Raises:
            StorageFull, StorageFailed: they, or earlier ones, could not be written.
        """
        ...

    def hexdigest(self) -> str:
        """SHA-256 of what was committed so far, as 64 lower-case hex digits."""
        ...

    def open(self) -> BinaryIO:
        """What was committed so far, to be read; the caller closes it.

        Raises:
            StorageFailed: it cannot be read.
        """
        ...

    def sync(self) -> None:
        """Put the bytes on stable storage.

        Raises:
            StorageFull, StorageFailed: it cannot be; the upload is lost and must be discarded.
        """
        ...

    def publish(self) -> str | None:
        """Put the synced bytes where they stay, durably: on a local disk under their final name.

        Returns:
            Where that is, in words that only the store and the index read. None when the name is taken: nothing was
            changed, and what is there is not ours. A place where names decide nothing never says so, and leaves it
            to the index (`index.base.EpisodeIndex.append`).

        Raises:
            StorageFull, StorageFailed: it could not be made durable. The name may or may not be visible
                and is not promised to anybody.
        """
        ...

    def discard(self) -> None:
        """Say that the index has another writer's record of the episode, so that nothing leads to these bytes."""
        ...

    def settle(self) -> None:
        """Say that the published episode is in the index: nothing is left to recover."""
        ...


class Held(Protocol):
    """A stored episode that no other writer can be at work on while it is held."""

    @property
    def size_bytes(self) -> int:
        """The length of the stored bytes.

        Raises:
            StorageFailed: it cannot be told.
        """
        ...

    @property
    def placed(self) -> str:
        """Where the bytes are, as `Incoming.publish` gives it."""
        ...

    @property
    def modified_ns(self) -> int:
        """When the bytes were written, in nanoseconds since the epoch.

        Raises:
            StorageFailed: it cannot be told.
        """
        ...

    def hexdigest(self) -> str:
        """Read the stored bytes and hash them.

        Raises:
            StorageFailed: they cannot be read.
        """
        ...

    def open(self) -> BinaryIO:
        """The stored bytes, from the first one on. The stream is closed when the episode is let go, by nobody else."""
        ...

    def stamps(self) -> Stamps | None:
        """What was said of the episode when its upload began, as long as it is unsettled; None when it is settled,
        and where its trace does not tell, as those of older versions do not.

        Raises:
            StorageFailed: the traces cannot be read.
        """
        ...

    def make_durable(self) -> None:
        """Put the bytes and their name on stable storage, whoever published them.

        Raises:
            StorageFailed: it could not be done.
        """
        ...

    def republish(self) -> None:
        """`make_durable` for an episode that is in no index: its writer died or failed, and nobody was told
        that it is stored. Where a trace of the upload is left, the bytes are named anew, so that a sync
        of the name that failed once is done over and not merely repeated.

        Raises:
            StorageFull, StorageFailed: it could not be done.
            EpisodeBusy: another writer took the name meanwhile.
        """
        ...

    def settle(self) -> None:
        """Say that the episode is in the index: nothing is left to recover."""
        ...


class EpisodeStore(Protocol):
    """Where episodes are kept. Any number of processes and threads may use one store at once."""

    def free_bytes(self) -> int | None:
        """How much more could be stored; None where space does not run out, as in an object store.

        Raises:
            StorageFailed: it cannot be told.
        """
        ...

    def check_writable(self) -> None:
        """Raises:
        StorageFailed: nothing can be written now.
        """
        ...

    def receive(self, key: EpisodeKey, stamps: Stamps) -> AbstractContextManager[Incoming]:
        """Start an upload of `key`, of which its head says `stamps`: who completes it after a crash knows them.

        Raises:
            StorageFull, StorageFailed: not even an empty upload can be made.
        """
        ...

    def exists(self, key: EpisodeKey) -> bool:
        """Whether something is published under `key`; says nothing of its durability."""
        ...

    def open(self, key: EpisodeKey) -> OpenEpisode | None:
        """The bytes of `key`; None when nothing is published under it.

        Raises:
            StorageFailed: they cannot be opened.
        """
        ...

    def hold(self, key: EpisodeKey, *, wait_seconds: float) -> AbstractContextManager[Held | None]:
        """Keep every other writer off the published episode `key`, waiting for one that is at work on it.
        Gives None when nothing is published under it.

        Raises:
            EpisodeBusy: the other writer did not finish within `wait_seconds`.
        """
        ...

    def unsettled(self) -> Iterator[EpisodeKey]:
        """Tidy up after writers that died: discard what they had not published, and yield each key that
        they had published and perhaps not indexed. Never touches an upload of a live writer. Costs what
        was in flight, not what is stored."""
        ...

    def all_keys(self) -> Iterator[EpisodeKey]:
        """Every published episode, in no particular order."""
        ...

    def quarantine(self, key: EpisodeKey, is_rotten: Callable[[Held], bool]) -> bool:
        """Put the published episode `key` aside, durably, keeping what was put aside before. Its name is free for
        another upload then; a crash in between leaves the episode under its name, aside or both, never nowhere. For
        episodes whose bytes are not what was acknowledged, and for nothing else: `is_rotten` has the last word, while
        nobody else can be at the episode.

        Returns:
            False when nothing is published under `key`, or it is not rotten.

        Raises:
            EpisodeBusy: another writer was at it for too long.
            StorageFailed: it cannot be put aside.
        """
        ...


class Inventory(Protocol):
    """What can be seen of stored episodes without reading them. Each question costs the same however much is
    stored."""

    def size_of(self, key: EpisodeKey) -> int | None:
        """How many bytes are published under `key`; None when nothing is.

        Raises:
            StorageFailed: it cannot be told.
        """
        ...

    def sizes_of(self, keys: Sequence[EpisodeKey]) -> Mapping[EpisodeKey, int | None]:
        """`size_of` for all of `keys`, but those of which it cannot be told. Costs less than to ask one by one where
        each answer has to travel."""
        ...

    def set_aside_since(self, key: EpisodeKey, ns: int) -> bool:
        """Whether a copy of `key` that came at `ns` (nanoseconds since the epoch) or later was quarantined."""
        ...

    def quarantined(self) -> int:
        """How many episodes were put aside and are there still. Costs what there are of them."""
        ...

    def some_keys(self, count: int, choose: random.Random, *, before_ns: int) -> Sequence[EpisodeKey]:
        """At most `count` episodes that are published, and were so before `before_ns`."""
        ...

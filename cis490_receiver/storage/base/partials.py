"""What a place for uploads that go on where they were has to do, whatever it is made of.

An upload is made with what its episode is to be, grows piece by piece at its *offset*, which counts durable bytes
alone, and ends with a *verdict*, which is kept for whoever asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cis490_receiver.models import Upload
from cis490_receiver.storage.base import Incoming


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an upload ended.

    Attributes:
        status: ``stored``, ``already-present`` or the code of the error that its completion was answered with.
        at_ns: when, in nanoseconds since the epoch.
        sha256: the digest that the answer names; None where it names none.
        reason: the reason that the answer names; None where it names none.
    """

    status: str
    at_ns: int
    sha256: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """What an upload was made with, for good.

    Attributes:
        upload: what its episode is to be; its size is known.
        owner: whose it is: the token that it was made with.
        metadata: Upload-Metadata as it came, to be given back; empty where none did.
        at_ns: when it was made, in nanoseconds since the epoch.
    """

    upload: Upload
    owner: str
    metadata: str
    at_ns: int

    @property
    def size_bytes(self) -> int:
        """How many bytes the whole has."""
        assert self.upload.size_bytes is not None
        return self.upload.size_bytes


@dataclass(frozen=True, slots=True)
class PartialUpload:
    """An upload as it is on stable storage.

    Attributes:
        upload_id: its name, which nobody can guess.
        announced: what it was made with.
        offset: how many of its bytes survive a crash.
        touched_ns: when that was last put down, in nanoseconds since the epoch.
        verdict: how it ended; None while it has not.
    """

    upload_id: str
    announced: Announced
    offset: int
    touched_ns: int
    verdict: Verdict | None

    @property
    def reached(self) -> int:
        """How far it is told to be: all the way, once it has ended."""
        return self.offset if self.verdict is None else self.announced.size_bytes

    @property
    def has_every_byte(self) -> bool:
        """Whether nothing is missing."""
        return self.offset == self.announced.size_bytes


class Partial(Incoming, Protocol):
    """An upload that one writer has for itself. Leaving the context lets it go, and discards nothing: what was not
    put down is gone, as after a crash."""

    @property
    def state(self) -> PartialUpload:
        """How it is on stable storage."""
        ...

    @property
    def has_bytes(self) -> bool:
        """Whether its bytes are there. When not, they are an episode's already, whose writer died before it could put
        down the verdict, or were lost: then it can only be ended."""
        ...

    def checkpoint(self, now_ns: int) -> None:
        """Put what was committed so far on stable storage, and then its offset, now or soon; the caller goes on.

        Raises:
            StorageFull, StorageFailed: an earlier step failed.
        """
        ...

    def put_down(self, now_ns: int) -> None:
        """The same, and wait until it is done.

        Raises:
            StorageFull, StorageFailed: it could not be.
        """
        ...

    def end(self, verdict: Verdict) -> None:
        """Put the verdict on stable storage, and discard whatever bytes are not an episode's.

        Raises:
            StorageFull, StorageFailed: it could not be put down.
        """
        ...

    def is_wanted(self) -> bool:
        """Whether another writer asked for it since this one has it."""
        ...


class Partials(Protocol):
    """The uploads of one receiver. Any number of processes and threads may use them at once."""

    def create(self, announced: Announced) -> PartialUpload:
        """Make a new upload, durably.

        Raises:
            StorageFull, StorageFailed: it cannot be made.
        """
        ...

    def create_ended(self, announced: Announced, verdict: Verdict) -> PartialUpload:
        """Make an upload that has its verdict already, and will never have a byte.

        Raises:
            StorageFull, StorageFailed: it cannot be made.
        """
        ...

    def find(self, upload_id: str) -> PartialUpload | None:
        """The upload of this name, whoever is at work on it.

        Raises:
            StorageFailed: it cannot be read.
        """
        ...

    def lease(self, upload_id: str, *, wait_seconds: float) -> AbstractContextManager[Partial | None]:
        """Have the upload to oneself. Gives None when it is not there, or ended.

        Raises:
            UploadLocked: another writer has it, and did not let it go within `wait_seconds`.
            StorageFailed: it cannot be read.
        """
        ...

    def want(self, upload_id: str) -> None:
        """Tell whoever has the upload that another one wants it."""
        ...

    def forget(self, upload_id: str) -> None:
        """Discard what is left of an upload that has ended, its verdict included.

        Raises:
            StorageFailed: it cannot be.
        """
        ...

    def forget_before(self, ns: int) -> None:
        """Forget every upload that ended before `ns` (nanoseconds since the epoch). Costs what has ended and is not
        forgotten.

        Raises:
            StorageFailed: that cannot be done.
        """
        ...

    def waiting(self) -> Iterator[PartialUpload]:
        """Every upload that has not ended. Costs what there are of them.

        Raises:
            StorageFailed: they cannot be listed.
        """
        ...

    def announced_bytes(self) -> int:
        """How many bytes are still to come of all uploads that have not ended, as of a second ago.

        Raises:
            StorageFailed: it cannot be told.
        """
        ...

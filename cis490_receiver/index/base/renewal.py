"""What making an index anew, beside its writers, has to do, whatever the index is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from cis490_receiver.models import EpisodeKey


class OldIndex(Protocol):
    """The index as it was at one moment, to be compared with what is stored."""

    @property
    def size_bytes(self) -> int:
        """The length of its lines, for progress."""
        ...

    def lines(self) -> Iterator[bytes]:
        """Its lines as they are kept, records or not, oldest first and with their newlines. May be asked for again."""
        ...

    def appended(self) -> Iterator[bytes]:
        """The lines that were appended since that moment, or since this was asked for last."""
        ...


class Draft(Protocol):
    """A new index that is written beside the old one and its writers; it counts for nothing until it is in force."""

    @property
    def old(self) -> OldIndex:
        """The index in force when the draft was begun."""
        ...

    def keep(self, line: bytes) -> None:
        """Add a line, newline included."""
        ...

    def set_aside(self, line: bytes, reason: str) -> None:
        """Leave a line of the old index out; it is kept among those that were set aside, with the reason."""
        ...

    def put_in_force(self, overtaken_by: Callable[[Iterator[bytes]], set[EpisodeKey]]) -> None:
        """Make the draft the index, for all at once; offsets in the old one are void. While nobody can append,
        `overtaken_by` is shown the lines that were appended meanwhile and names the episodes whose lines in the draft
        give way to these; they are set aside. What was appended follows in its order.

        Once this returns it is on stable storage. After a crash before that there is the old index or the new one,
        whole, and every line that was left out of the new one is among those set aside.

        Raises:
            StorageFailed, OSError: the old index stands, or the new one does not surely stay: do it again.
        """
        ...


class Renewal(Protocol):
    """Ways to make the index anew. Where a process dies, what it did counts for nothing and its turn is over."""

    def alone_or_not(self) -> AbstractContextManager[bool]:
        """Keep others from making the index anew; gives False at once when somebody else is at it."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """`alone_or_not`, waiting until nobody else is."""
        ...

    def look(self) -> AbstractContextManager[OldIndex]:
        """The index as it is now, an empty one where there is none. Writes nothing."""
        ...

    def draft(self) -> AbstractContextManager[Draft]:
        """Begin a draft, for who is `alone`.

        Raises:
            StorageFailed, OSError: it cannot be written.
        """
        ...

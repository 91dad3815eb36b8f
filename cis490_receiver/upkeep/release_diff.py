"""What one release has that another has not: both are read once, side by side, for they are sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from cis490_receiver.errors import ReceiverError
from cis490_receiver.models import EPISODE_FIELDS, Episode


class ReleaseUnreadable(ReceiverError):
    """A table is not sorted, or has lines that are no records."""

    code = "release-damaged"


@dataclass(frozen=True, slots=True)
class Difference:
    """An episode that only one of two releases has, or that is another in the second one.

    Attributes:
        old, new: its record in the first and in the second one; None where it is not.
    """

    old: Episode | None
    new: Episode | None

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What became of it."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"

    @property
    def episode(self) -> Episode:
        """Its record, the new one where there is one."""
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def fields(self) -> list[str]:
        """In which fields it is another."""
        if self.old is None or self.new is None:
            return []
        return [name for name in EPISODE_FIELDS if getattr(self.old, name) != getattr(self.new, name)]


def differences(first: BinaryIO, second: BinaryIO) -> Iterator[Difference]:
    """What is different in the table `second`, in the order of the tables. Costs no memory, however long they are.

    Raises:
        ReleaseUnreadable: a table cannot be read.
    """
    olds, news = _sorted(first), _sorted(second)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.key < new.key):
            yield Difference(old, None)
            old = next(olds, None)
        elif old is None or new.key < old.key:
            yield Difference(None, new)
            new = next(news, None)
        else:
            if old != new:
                yield Difference(old, new)
            old, new = next(olds, None), next(news, None)


def _sorted(lines: Iterable[bytes]) -> Iterator[Episode]:
    last = None
    for line in lines:
        try:
            episode = Episode.from_line(line)
        except ValueError as exc:
            raise ReleaseUnreadable(f"a line of the table cannot be read: {exc}") from exc
        if last is not None and episode.key <= last:
            raise ReleaseUnreadable(f"the table is not sorted at {episode.key}")
        last = episode.key
        yield episode

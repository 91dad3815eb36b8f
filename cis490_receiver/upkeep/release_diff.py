"""What one release has that another has not: both are read once, side by side, for they are sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from cis490_receiver.errors import ReleaseDamaged
from cis490_receiver.models import EPISODE_FIELDS, Episode, EpisodeKey


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
    """What is different in the table `second`, in the order of the tables. Costs no memory, however long they are, and
    little time where they are the same.

    Raises:
        ReleaseDamaged: a table cannot be read.
    """
    old, new = _Reader(first), _Reader(second)
    while old.line or new.line:
        if old.line == new.line:
            old.advance()
            new.advance()
            continue
        here, there = old.episode(), new.episode()
        if there is None or (here is not None and here.key < there.key):
            yield Difference(here, None)
            old.advance()
        elif here is None or there.key < here.key:
            yield Difference(None, there)
            new.advance()
        else:
            if here != there:
                yield Difference(here, there)
            old.advance()
            new.advance()


class _Reader:
    """A table, line by line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._before = b""
        self._before_key: EpisodeKey | None = None
        self._parsed: Episode | None = None
        #: The line that is looked at; empty at the end.
        self.line = stream.readline()

    def advance(self) -> None:
        """On to the next line."""
        self._before, self._before_key = self.line, self._parsed.key if self._parsed else None
        self.line, self._parsed = self._stream.readline(), None

    def episode(self) -> Episode | None:
        """The record of the line; None at the end.

        Raises:
            ReleaseDamaged: it is none, or does not come after the one before.
        """
        if self.line and self._parsed is None:
            self._parsed = _parse(self.line)
            if self._before and (self._before_key or _parse(self._before).key) >= self._parsed.key:
                raise ReleaseDamaged(f"the table is not sorted at {self._parsed.key}")
        return self._parsed


def _parse(line: bytes) -> Episode:
    try:
        return Episode.from_line(line)
    except ValueError as exc:
        raise ReleaseDamaged(f"a line of the table cannot be read: {exc}") from exc

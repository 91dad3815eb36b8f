"""A release's table, searched without being read: its lines are sorted by host and episode."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from cis490_receiver.files.lines import LINE_LIMIT
from cis490_receiver.models import Episode

Name = tuple[str, str]
#: Gives so many bytes, or fewer where there are no more, from an offset on.
ReadAt = Callable[[int, int], bytes]

#: How a line begins that this program wrote.
_BEGINNING: Final = re.compile(rb'\{"host_id":"([A-Za-z0-9._-]+)","episode_id":"([A-Za-z0-9._-]+)"')
#: What is read at once: some lines.
_STEP: Final = 4096


class SparseIndex:
    """Where some of a table's lines begin, in the order of the table, and what their names are: what is looked up is
    between two of them, or behind the last one."""

    def __init__(self, marks: Iterable[tuple[int, Name]] = ()) -> None:
        """`marks` are offsets and names, the first one of the first line."""
        pairs = list(marks)
        self._offsets = [offset for offset, _ in pairs]
        self._names = [name for _, name in pairs]

    def around(self, name: Name, end: int) -> tuple[int, int]:
        """From where up to where the line of `name` is, if it is there, in a table that ends at `end`."""
        if not self._offsets:
            return 0, end
        after = bisect.bisect_right(self._names, name)
        low = self._offsets[max(after - 1, 0)]
        return low, self._offsets[after] if after < len(self._offsets) else end


class SortedTable:
    """The table that `read_at` reads, `size_bytes` long."""

    def __init__(self, read_at: ReadAt, size_bytes: int, sparse: SparseIndex | None = None) -> None:
        self._read_at = read_at
        self._end = size_bytes
        self._sparse = sparse or SparseIndex()

    def of_these(self, names: Iterable[Name]) -> Iterator[Name]:
        """Those of `names`, which are sorted, that the table has. Costs some steps for each, however long it is.

        Raises:
            ValueError: a line is no record.
        """
        place = 0
        for name in names:
            low, end = self._sparse.around(name, self._end)
            place = self._first_from(name, max(low, place), end)
            if place == self._end:
                return
            if place < end and self._name_at(place) == name:
                yield name

    def _first_from(self, name: Name, low: int, end: int) -> int:
        """Where the first line at or behind offset `low`, where one begins, is whose name is `name` or comes after it;
        `end` when there is none before that, where one begins or the table ends."""
        step, high = _STEP, self._line_from(low + _STEP, end)
        while high < end and self._name_at(high) < name:
            low, step = high, step * 2
            high = self._line_from(low + step, end)
        while high - low > _STEP:
            middle = self._line_from((low + high) // 2, end)
            if middle == high:
                # One line fills all that is behind the middle.
                break
            if self._name_at(middle) < name:
                low = middle
            else:
                high = middle
        while low < high and self._name_at(low) < name:
            low = self._line_from(low + 1, end)
        return low

    def _line_from(self, offset: int, end: int) -> int:
        """Where the first line begins that does so at `offset` or behind it, before `end`; else that."""
        while 0 < offset < end:
            piece = self._read_at(min(_STEP, end - offset + 1), offset - 1)
            found = piece.find(b"\n")
            if found >= 0:
                return min(offset + found, end)
            offset += len(piece)
        return min(offset, end)

    def _name_at(self, offset: int) -> Name:
        beginning = self._read_at(512, offset)
        if _BEGINNING.match(beginning):
            return name_of(beginning)
        line, _, _ = self._read_at(LINE_LIMIT, offset).partition(b"\n")
        return name_of(line)


def name_of(line: bytes) -> Name:
    """The name of a line, or of the beginning of one that this program wrote.

    Raises:
        ValueError: it is no record.
    """
    match = _BEGINNING.match(line)
    if match:
        return match[1].decode("ascii"), match[2].decode("ascii")
    episode = Episode.from_line(line)
    return episode.host_id, episode.episode_id

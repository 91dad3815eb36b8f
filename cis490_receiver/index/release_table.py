"""A release's table, searched without being read: its lines are sorted by host and episode."""

from __future__ import annotations

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


class SortedTable:
    """The table that `read_at` reads, `size_bytes` long."""

    def __init__(self, read_at: ReadAt, size_bytes: int) -> None:
        self._read_at = read_at
        self._end = size_bytes

    def of_these(self, names: Iterable[Name]) -> Iterator[Name]:
        """Those of `names`, which are sorted, that the table has. Costs some steps for each, however long it is.

        Raises:
            ValueError: a line is no record.
        """
        place = 0
        for name in names:
            place = self._first_from(name, place)
            if place == self._end:
                return
            if self._name_at(place) == name:
                yield name

    def _first_from(self, name: Name, low: int) -> int:
        """Where the first line at or behind offset `low`, where one begins, is whose name is `name` or comes after it;
        the table's end when there is none."""
        step, high = _STEP, self._line_from(low + _STEP)
        while high < self._end and self._name_at(high) < name:
            low, step = high, step * 2
            high = self._line_from(low + step)
        while high - low > _STEP:
            middle = self._line_from((low + high) // 2)
            if middle == high:
                # One line fills all that is behind the middle.
                break
            if self._name_at(middle) < name:
                low = middle
            else:
                high = middle
        while low < high and self._name_at(low) < name:
            low = self._line_from(low + 1)
        return low

    def _line_from(self, offset: int) -> int:
        """Where the first line begins that does so at `offset` or behind it."""
        while 0 < offset < self._end:
            piece = self._read_at(_STEP, offset - 1)
            found = piece.find(b"\n")
            if found >= 0:
                return offset + found
            offset += len(piece)
        return min(offset, self._end)

    def _name_at(self, offset: int) -> Name:
        match = _BEGINNING.match(self._read_at(512, offset))
        if match:
            return match[1].decode("ascii"), match[2].decode("ascii")
        line, _, _ = self._read_at(LINE_LIMIT, offset).partition(b"\n")
        episode = Episode.from_line(line)
        return episode.host_id, episode.episode_id

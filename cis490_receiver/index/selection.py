"""Some lines of the journal, sorted: which they are and where they begin is asked of the catalog, what they say is read
from the journal, so that they are its own bytes.

Eight bytes of memory an episode; the sorting is that of an index of the catalog.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.files.lines import LINE_LIMIT
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import OpenJournal, Selection
from cis490_receiver.index.catalog import Catalog
from cis490_receiver.index.source import JournalSource
from cis490_receiver.index.withdrawals import CONDITIONS

#: How often a selection is made anew because the journal was swapped or cut meanwhile.
_TRIES: Final = 5
#: More than nearly every line has.
_USUAL_BYTES: Final = 1024
#: Of the journal that the rows in memory are of, and where there are none, those on disk.
_GENERATION: Final = """
SELECT coalesce(nullif(main.position.generation, ''), main.base.generation) FROM main.position, main.base
"""


@dataclass(slots=True)
class _Found:
    """Where the lines begin, in their order, and the sums."""

    offsets: array[int] = field(default_factory=lambda: array("Q"))
    hosts: int = 0
    size_bytes: int = 0


@contextlib.contextmanager
def select(catalog: Catalog, journal: JournalSource, filters: Filters) -> Iterator[Selection]:
    """See `EpisodeIndex.selection`."""
    for _ in range(_TRIES):
        # What was not synced yet, and what is cut away when its sync fails, must not be in what stays for ever.
        journal.make_durable()
        opened = journal.open()
        with opened.stream:
            found = catalog.read(partial(_ask, opened.generation, filters)) if opened.end else _Found()
            journal.make_durable()
            # An empty journal has another generation after each look.
            if found is not None and (opened.end == 0 or _is_in_force(journal, opened)):
                lines = _lines(opened.stream.fileno(), found.offsets)
                yield Selection(lines, len(found.offsets), found.size_bytes, found.hosts)
                return
    raise StorageFailed("the index is being made anew; try again when that is done")


def _is_in_force(journal: JournalSource, opened: OpenJournal) -> bool:
    now = journal.open()
    with now.stream:
        return now.generation == opened.generation


def _ask(generation: str, filters: Filters, connection: sqlite3.Connection) -> _Found | None:
    """What passes; None when the catalog has read a journal of another generation."""
    if connection.execute(_GENERATION).fetchone() != (generation,):
        return None
    # A unary + keeps SQLite from an index other than the one that has the order (query planner, §5).
    where = [
        f"{'' if column == 'host_id' else '+'}{column} {comparison} ?"
        for column, comparison, _ in filters.conditions()
    ]
    rows = connection.execute(
        # With both columns of the order among its own, the sets are merged and not sorted (select-flattening, 17).
        "SELECT host_id, episode_id, size_bytes, line_offset FROM episodes "
        f"WHERE {' AND '.join([*where, CONDITIONS['exclude']])} ORDER BY host_id, episode_id",
        [value for _, _, value in filters.conditions()],
    )
    found = _Found()
    last = None
    for host_id, _, size_bytes, offset in rows:
        found.offsets.append(offset)
        found.size_bytes += size_bytes
        if host_id != last:
            found.hosts += 1
            last = host_id
    return found


def _lines(fd: int, offsets: array[int]) -> Iterator[bytes]:
    for offset in offsets:
        # From the byte before, which ends the line before.
        start = max(0, offset - 1)
        piece = os.pread(fd, _USUAL_BYTES, start)
        end = piece.find(b"\n", offset - start)
        if end < 0:
            piece = os.pread(fd, LINE_LIMIT + 2, start)
            end = piece.find(b"\n", offset - start)
        if end < 0 or (start != offset and not piece.startswith(b"\n")):
            raise StorageFailed("the index was edited meanwhile; run cis490-receiver reindex")
        yield piece[offset - start : end + 1]

"""How far something has read the journal, and whether that is still what it read."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Final

from cis490_receiver.index.base import OpenJournal

#: How many bytes before the offset vouch for the journal being the same file, unedited at its end.
_FINGERPRINT_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Position:
    """Attributes:
    generation: of the journal.
    offset: behind the last line that was read.
    fingerprint: of the bytes before the offset.
    """

    generation: str
    offset: int
    fingerprint: str

    def is_in(self, journal: OpenJournal) -> bool:
        """Whether everything up to here is still what was read."""
        return (
            self.generation == journal.generation
            and self.offset <= journal.end
            and self.fingerprint == fingerprint(journal, self.offset)
        )


def position_of(connection: sqlite3.Connection, table: str) -> Position:
    """The position that a table of the catalog notes."""
    row = connection.execute(f"SELECT generation, offset, fingerprint FROM {table}").fetchone()
    return Position(str(row[0]), int(row[1]), str(row[2]))


def fingerprint(journal: OpenJournal, offset: int) -> str:
    """A digest of what lies before `offset`."""
    start = max(0, offset - _FINGERPRINT_BYTES)
    return hashlib.sha256(os.pread(journal.stream.fileno(), offset - start, start)).hexdigest()

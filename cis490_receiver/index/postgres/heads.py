"""How far the rows of the index go, and how far they are known to be safe.

A row can be seen before it is safe, when the wait for its standby was broken off. So what is shown was read in a
transaction whose commit was waited for, and how far that was is noted, on the primary alone. While no commit can be
waited for, all receivers show what the note says: the same lines to every follower, and none that could go away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.expressions import NEW_NAME, nanoseconds
from cis490_receiver.postgres.pool import Database

_HEAD: Final = f"""
SELECT generation, name, end_offset, {nanoseconds("changed_at")},
    coalesce((SELECT line_offset + octet_length(line) FROM withdrawals ORDER BY number DESC LIMIT 1), 0)
FROM journal_head
"""
#: An index that was made anew has another name, and one that went back in time ends earlier, than when it was noted.
_VOUCHED: Final = f"""
SELECT v.generation, CASE WHEN v.generation = h.generation THEN h.name ELSE v.name END,
    CASE WHEN v.generation = h.generation THEN least(v.end_offset, h.end_offset) ELSE v.end_offset END,
    {nanoseconds("v.changed_at")}, v.withdrawn_end
FROM vouched AS v, journal_head AS h
"""
#: Nothing that was noted is taken back when two receivers come at once.
_NOTE: Final = b"""
UPDATE vouched AS v SET generation = h.generation, name = h.name, changed_at = h.changed_at,
    end_offset = CASE WHEN v.generation = h.generation THEN greatest(v.end_offset, n.ends) ELSE n.ends END,
    withdrawn_end = greatest(v.withdrawn_end, n.withdrawn)
FROM journal_head AS h, (SELECT %s::bigint AS made, %s::bigint AS ends, %s::bigint AS withdrawn) AS n
WHERE h.generation = n.made
    AND (v.generation < n.made OR v.generation = n.made AND v.end_offset < n.ends OR v.withdrawn_end < n.withdrawn)
"""
#: Followers of the old name read the index from its start again, and nothing of what was noted counts.
_RENAME: Final = f"""
WITH renamed AS (UPDATE journal_head SET name = {NEW_NAME} WHERE name = %s RETURNING name)
UPDATE vouched AS v SET name = renamed.name, end_offset = 0, withdrawn_end = 0 FROM renamed
"""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the rows go.

    Attributes:
        generation: the number of the index's generation, in the rows.
        name: what followers know it by.
        end: the length of its lines in bytes.
        modified_ns: when the last one came, in nanoseconds since the epoch.
        withdrawn_end: the length of the withdrawals' lines in bytes.
    """

    generation: int
    name: str
    end: int
    modified_ns: int
    withdrawn_end: int


def head_of(database: Database) -> Head:
    """How far the rows go now."""
    return _only(database.read(_HEAD))


def vouched_of(database: Database) -> Head:
    """How far they are known to be safe."""
    return _only(database.read(_VOUCHED))


def note_vouched(database: Database, generation: int, end: int, withdrawn_end: int = 0) -> None:
    """Note that the lines of `generation` up to `end`, and the withdrawals' up to `withdrawn_end`, are safe, which they
    must be."""

    def note(connection: Connection) -> None:
        # No standby is waited for: one that has not got it knows less, and nothing wrong.
        connection.execute(b"SET LOCAL synchronous_commit = local")
        connection.execute(_NOTE, (generation, end, withdrawn_end))

    database.repeat(note, reading=True)


def rename(database: Database, name: str) -> None:
    """Give the index that is called `name` another name, as its lines are not what they were."""
    database.write(_RENAME, (name,))


def _only(rows: list[tuple[Any, ...]]) -> Head:
    if not rows:
        raise StorageFailed from ValueError("journal_head is empty")
    return Head(*rows[0])

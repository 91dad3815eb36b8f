"""The index of receivers on many machines: records go to rows of PostgreSQL, questions to a catalog on this machine.

A record takes the place of its upload's note in one transaction (`storage.base.placements`)::

    lock the notes  →  insert into episodes, whose primary key decides a race  →  delete the notes
        →  count the journal's head on, insert the lines  →  commit

The head is locked last and until the commit, so that offsets have the order of the commits, without gaps, and no
follower ever passes by a line. What comes at once to one process shares a transaction.

A transaction whose end is not known is done again, which adds nothing twice: an upload whose object the episode has
already is stored.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis490_receiver.clock import Clock
from cis490_receiver.errors import Moved, StorageFailed, StorageFull
from cis490_receiver.index.group_commit import GroupCommit
from cis490_receiver.index.postgres.renewal import PostgresRenewal
from cis490_receiver.index.postgres.replica import Replica
from cis490_receiver.index.questions import CatalogQuestions
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.pool import Database, write_something

log = logging.getLogger(__name__)

#: Sorts more than it may have in memory, by way of a file that goes at once (PostgreSQL, *Resource Consumption*,
#: ``work_mem``).
_LITTLE_MEMORY: Final = b"SET LOCAL work_mem = '64kB'"
_NEED_ROOM: Final = (
    b"SELECT count(*) FROM (SELECT number FROM generate_series(1, 5000) AS number ORDER BY number DESC) AS n"
)
#: How long `check_writable` waits for a commit.
_CHECK_SECONDS: Final = 3.0
#: All in the order of their names, so that two transactions never wait for each other.
_NOTED: Final = b"""
SELECT object_key FROM uploading WHERE object_key = ANY(%s) AND given_up_at IS NULL ORDER BY object_key FOR UPDATE
"""
_INSERT: Final = b"""
INSERT INTO episodes AS e (host_id, episode_id, object_key, size_bytes, sha256, received_at_ns, line)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::bytea[])
    AS n (host_id, episode_id, object_key, size_bytes, sha256, received_at_ns, line)
ORDER BY n.host_id COLLATE "C", n.episode_id COLLATE "C"
ON CONFLICT (host_id, episode_id) DO UPDATE SET object_key = excluded.object_key, size_bytes = excluded.size_bytes,
    sha256 = excluded.sha256, received_at_ns = excluded.received_at_ns, line = excluded.line
WHERE e.object_key IS NULL
RETURNING object_key
"""
_FORGET_NOTES: Final = b"DELETE FROM uploading WHERE object_key = ANY(%s)"
_LENGTHEN: Final = b"""
WITH head AS (
    UPDATE journal_head SET end_offset = end_offset + %s, changed_at = greatest(changed_at, clock_timestamp())
    WHERE closed_for IS NULL RETURNING generation, end_offset - %s AS start
)
INSERT INTO journal (generation, line_offset, line)
SELECT generation, start + place, line FROM head, unnest(%s::bigint[], %s::bytea[]) AS n (place, line)
RETURNING generation, line_offset + octet_length(line) + 1
"""
_FIND: Final = "SELECT line FROM episodes WHERE host_id = %s AND episode_id = %s AND object_key IS NOT NULL"
_IS_OPEN: Final = b"SELECT true FROM journal_head WHERE closed_for IS NULL"
_STORED: Final = b"SELECT object_key FROM episodes WHERE object_key = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Record:
    """A record, and the object of its bytes."""

    episode: Episode
    object_key: str
    #: Without its newline.
    line: bytes


class PostgresIndex(CatalogQuestions):
    """See `index.base.EpisodeIndex`."""

    def __init__(self, data_dir: Path, database: Database) -> None:
        self.replica = Replica(data_dir, database)
        super().__init__(self.replica.folder, self.replica)
        self._database = database
        self._group = GroupCommit(self._append)

    def append(self, episode: Episode, placed: str = "") -> bool:
        """See `EpisodeIndex.append`. `placed` is the name of an object whose upload is noted.

        Raises:
            StorageFailed: the note is gone: the upload took longer than the collector waits.
        """
        try:
            stored = self._group.submit(Record(episode, placed, episode.to_line().rstrip(b"\n")))
        except (StorageFailed, StorageFull) as exc:
            log.error(event(exc.code, doing="append", host=episode.host_id, id=episode.episode_id))
            raise
        if stored is None:
            log.error(event("upload-collected", host=episode.host_id, id=episode.episode_id, file=placed))
            raise StorageFailed("the upload took too long and was discarded; send it again")
        return stored

    def _append(self, records: Sequence[Record]) -> Sequence[bool | None]:
        stored, ends = self._database.repeat(lambda connection: _append(connection, records))
        for generation, end in ends:
            self.replica.acknowledge(generation, end)
        return stored

    def check_writable(self) -> None:
        """See `EpisodeIndex.check_writable`: that a commit is made, and that there is room for more."""

        def check(connection: Connection) -> None:
            if connection.execute(_IS_OPEN).fetchone() is None:
                raise Moved
            connection.execute(_LITTLE_MEMORY)
            connection.execute(_NEED_ROOM)
            write_something(connection)

        self._database.repeat(check, commit_seconds=_CHECK_SECONDS)

    def make_durable(self) -> None:
        """See `EpisodeIndex.make_durable`."""
        self.replica.make_durable()

    def renewal(self, clock: Clock) -> PostgresRenewal:
        """See `EpisodeIndex.renewal`. The database's clock tells the time."""
        return PostgresRenewal(self._database, self.replica)

    def find(self, key: EpisodeKey) -> Episode | None:
        """See `EpisodeIndex.find`."""
        rows = self._database.read(_FIND, (key.host_id, key.episode_id))
        # What was put aside has its line until the index is made anew.
        return Episode.from_line(bytes(rows[0][0])) if rows else super().find(key)

    def withdrawals_state(self) -> object:
        """See `CatalogQuestions.withdrawals_state`."""
        self.replica.open().stream.close()
        return super().withdrawals_state()


def _append(
    connection: Connection, records: Sequence[Record]
) -> tuple[list[bool | None], list[tuple[int, int]]]:
    """For each of `records` whether it is there now, None where its upload is not noted; and the index's generation
    with where each new line ends."""
    keys = [record.object_key for record in records]
    noted = lock_notes(connection, keys)
    won, ends = _insert(connection, [record for record in records if record.object_key in noted])
    if len(noted) < len(set(keys)):
        # Of a transaction whose end was not known: what is there was seen, and is to be made safe.
        won |= {row[0] for row in connection.execute(_STORED, ([key for key in keys if key not in noted],))}
        write_something(connection)
    return [True if key in won else False if key in noted else None for key in keys], ends


def lock_notes(connection: Connection, object_keys: Sequence[str]) -> set[str]:
    """Those of `object_keys` that are noted, and are nobody else's until the transaction ends."""
    return {row[0] for row in connection.execute(_NOTED, (list(object_keys),))}


def _insert(connection: Connection, records: Sequence[Record]) -> tuple[set[str], list[tuple[int, int]]]:
    """Make episodes of those whose names are free, with their lines; gives their objects, and where the lines end.

    Raises:
        Moved: the index takes no line.
    """
    won, ends = make_episodes(connection, records), []
    if won:
        lines = [record.line for record in records if record.object_key in won]
        places = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
        values = (places[-1], places[-1], places[:-1], lines)
        ends = connection.execute(_LENGTHEN, values).fetchall()
        if len(ends) != len(lines):
            raise Moved
    return won, ends


def make_episodes(connection: Connection, records: Sequence[Record]) -> set[str]:
    """Make episodes of those of `records` whose names are free, in the place of their notes; gives their objects."""
    # Two of one name at once: PostgreSQL refuses to touch a row twice in one statement.
    first = list({record.episode.key: record for record in reversed(records)}.values())
    if not first:
        return set()
    columns = [
        [record.episode.host_id for record in first],
        [record.episode.episode_id for record in first],
        [record.object_key for record in first],
        [record.episode.size_bytes for record in first],
        [record.episode.sha256 for record in first],
        [record.episode.received_at_ns for record in first],
        [record.line for record in first],
    ]
    won = {row[0] for row in connection.execute(_INSERT, columns)}
    if won:
        connection.execute(_FORGET_NOTES, (list(won),))
    return won

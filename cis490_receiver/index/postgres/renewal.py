"""The index made anew in PostgreSQL, beside its writers.

The new lines are rows of another generation, which nobody reads. Only the last step locks the journal's head: what was
appended meanwhile is copied behind them, and the head goes over to the new generation. The old rows stay; receivers may
not delete them.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.files.lines import lines_between
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.index.postgres.replica import Replica
from cis490_receiver.index.renewal import whole_lines
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.expressions import NEW_NAME
from cis490_receiver.postgres.locks import lock_or_none
from cis490_receiver.postgres.pool import Database

_LOCK: Final = "reindex"
_PAUSE_SECONDS: Final = 0.2
_BATCH: Final = 5000
_NO_EPISODE: Final = "no-episode"
_INSERT: Final = b"""
INSERT INTO journal (generation, line_offset, line)
SELECT %s, place, line FROM unnest(%s::bigint[], %s::bytea[]) AS n (place, line)
"""
_ASIDE: Final = b"INSERT INTO lines_set_aside (reason, line) SELECT * FROM unnest(%s::text[], %s::bytea[])"
_APPENDED: Final = b"""
SELECT line FROM journal WHERE generation = %s AND line_offset >= %s ORDER BY line_offset
"""
_SWITCH: Final = f"""
UPDATE journal_head SET generation = %s, end_offset = %s, name = {NEW_NAME},
    changed_at = greatest(changed_at, clock_timestamp())
""".encode()
#: The names of episodes whose objects are gone are free for others.
_FREE: Final = b"""
WITH freed AS (
    UPDATE episodes AS e SET object_key = NULL FROM unnest(%s::text[], %s::text[]) AS gone (host_id, episode_id),
        (SELECT host_id, episode_id, object_key FROM episodes) AS was
    WHERE (e.host_id, e.episode_id) = (gone.host_id, gone.episode_id) AND e.object_key IS NOT NULL
        AND (was.host_id, was.episode_id) = (e.host_id, e.episode_id)
    RETURNING was.object_key, e.host_id, e.episode_id
)
INSERT INTO set_aside (object_key, host_id, episode_id) SELECT * FROM freed ON CONFLICT DO NOTHING
"""


class PostgresRenewal:
    """See `index.base.renewal.Renewal`."""

    def __init__(self, database: Database, replica: Replica) -> None:
        self._database = database
        self._replica = replica

    @contextlib.contextmanager
    def alone_or_not(self) -> Iterator[bool]:
        """See `Renewal.alone_or_not`: over all machines."""
        with lock_or_none(self._database, _LOCK) as lock:
            yield lock is not None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """See `Renewal.alone`."""
        while True:
            with lock_or_none(self._database, _LOCK) as lock:
                if lock is not None:
                    yield
                    return
            time.sleep(_PAUSE_SECONDS)

    @contextlib.contextmanager
    def look(self) -> Iterator[OldRows]:
        """See `Renewal.look`."""
        journal = self._replica.open()
        with journal.stream:
            yield OldRows(self._replica, journal)

    @contextlib.contextmanager
    def draft(self) -> Iterator[RowsDraft]:
        """See `Renewal.draft`. It is kept in a scratch file until it is put in force."""
        generation = self._replica.head().generation
        with self.look() as old, tempfile.TemporaryFile() as work, tempfile.TemporaryFile() as aside:
            yield RowsDraft(self._database, generation, old, work, aside)


class OldRows:
    """See `index.base.renewal.OldIndex`."""

    def __init__(self, replica: Replica, journal: OpenJournal) -> None:
        self._replica = replica
        self._journal = journal
        self.size_bytes = journal.end
        self._seen = journal.end

    def lines(self) -> Iterator[bytes]:
        """See `OldIndex.lines`."""
        return whole_lines(self._journal.stream, 0, self.size_bytes)

    def appended(self) -> Iterator[bytes]:
        """See `OldIndex.appended`."""
        now = self._replica.open()
        with now.stream:
            if now.generation != self._journal.generation:
                raise StorageFailed("the index was made anew by somebody else meanwhile")
            yield from whole_lines(now.stream, self._seen, now.end)
            self._seen = now.end


class RowsDraft:
    """See `index.base.renewal.Draft`."""

    def __init__(
        self, database: Database, generation: int, old: OldRows, work: IO[bytes], aside: IO[bytes]
    ) -> None:
        self.old = old
        self._database = database
        self._generation = generation
        self._work = work
        self._aside = aside

    def keep(self, line: bytes) -> None:
        """See `Draft.keep`."""
        self._work.write(line)

    def set_aside(self, line: bytes, reason: str) -> None:
        """See `Draft.set_aside`. A reason is one word."""
        self._aside.write(reason.encode("ascii") + b" " + line)

    def put_in_force(self, overtaken_by: Callable[[Iterator[bytes]], set[EpisodeKey]]) -> None:
        """See `Draft.put_in_force`."""
        number = self._next_generation()
        end = self._load(number, _lines_of(self._work))
        with self._database.transaction() as connection:
            connection.execute(b"LOCK TABLE journal_head IN SHARE ROW EXCLUSIVE MODE")
            row = connection.execute(b"SELECT generation FROM journal_head").fetchone()
            if row is None or row[0] != self._generation:
                raise StorageFailed("the index was made anew by somebody else meanwhile")
            appended = [
                bytes(row[0]) + b"\n"
                for row in connection.execute(_APPENDED, (self._generation, self.old.size_bytes))
            ]
            overtaken = overtaken_by(iter(appended))
            if overtaken:
                number = self._next_generation()
                end = _insert(connection, number, 0, self._without(connection, overtaken))
            end = _insert(connection, number, end, (line.rstrip(b"\n") for line in appended))
            self._keep_those_set_aside(connection)
            connection.execute(_SWITCH, (number, end))

    def _next_generation(self) -> int:
        return int(self._database.write_once("SELECT nextval('journal_generations')")[0][0])

    def _load(self, number: int, lines: Iterable[bytes]) -> int:
        """Put `lines` into rows that nobody reads, and gives how long they are."""
        end = 0
        for batch in _batches(lines):
            with self._database.transaction() as connection:
                end = _insert(connection, number, end, batch)
        return end

    def _without(self, connection: Connection, keys: set[EpisodeKey]) -> Iterator[bytes]:
        """The new lines but those of `keys`, which are set aside. Few, in a moment between two writers; so it may
        cost a copy."""
        for line in _lines_of(self._work):
            if Episode.from_line(line).key in keys:
                connection.execute(_ASIDE, (["overtaken"], [line]))
            else:
                yield line

    def _keep_those_set_aside(self, connection: Connection) -> None:
        for batch in _batches(_lines_of(self._aside)):
            split = [line.partition(b" ") for line in batch]
            reasons = [reason.decode("ascii") for reason, _, _ in split]
            connection.execute(_ASIDE, (reasons, [line for _, _, line in split]))
            gone = [
                Episode.from_line(line).key
                for reason, (_, _, line) in zip(reasons, split, strict=True)
                if reason == _NO_EPISODE
            ]
            if gone:
                connection.execute(_FREE, ([key.host_id for key in gone], [key.episode_id for key in gone]))


def _insert(connection: Connection, number: int, end: int, lines: Iterable[bytes]) -> int:
    """Add `lines`, without their newlines, from offset `end` on; gives where they end."""
    for batch in _batches(lines):
        places = list(itertools.accumulate((len(line) + 1 for line in batch), initial=end))
        connection.execute(_INSERT, (number, places[:-1], batch))
        end = places[-1]
    return end


def _lines_of(file: IO[Any]) -> Iterator[bytes]:
    file.flush()
    return lines_between(file.fileno(), 0, file.seek(0, 2))


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(lines)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch

"""Which object is which episode, in rows of PostgreSQL. The index makes the rows of episodes; see `index.postgres`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from cis490_receiver.models import EpisodeKey
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.expressions import nanoseconds
from cis490_receiver.postgres.pool import Database, write_something
from cis490_receiver.storage.base.placements import Placement

_BATCH: Final = 5000
_FIND: Final = """
SELECT object_key, size_bytes, sha256, received_at_ns FROM episodes
WHERE host_id = %s AND episode_id = %s AND object_key IS NOT NULL
"""
_GIVE_UP_ONE: Final = b"""
UPDATE uploading SET given_up_at = coalesce(given_up_at, clock_timestamp()) WHERE object_key = %s
"""
_GIVE_UP: Final = """
UPDATE uploading SET given_up_at = clock_timestamp() WHERE given_up_at IS NULL AND object_key IN (
    SELECT object_key FROM uploading WHERE noted_at < to_timestamp(%s / 1e9) AND given_up_at IS NULL
    ORDER BY object_key LIMIT %s
)
RETURNING object_key
"""
_GIVEN_UP: Final = """
SELECT object_key FROM uploading WHERE given_up_at < to_timestamp(%s / 1e9) AND object_key > %s
ORDER BY object_key LIMIT %s
"""


class PostgresPlacements:
    """See `storage.base.placements.Placements`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now_ns(self) -> int:
        """See `Placements.now_ns`."""
        return int(self._database.read(f"SELECT {nanoseconds('clock_timestamp()')}")[0][0])

    def register(self, key: EpisodeKey, object_key: str) -> None:
        """See `Placements.register`."""
        self._database.write(
            "INSERT INTO uploading (object_key, host_id, episode_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (object_key, key.host_id, key.episode_id),
        )

    def give_up(self, object_key: str) -> bool:
        """See `Placements.give_up`. What was done by a try whose end is not known is told as done."""

        def give_up(connection: Connection) -> bool:
            # Whoever makes an episode of it has the note locked.
            if connection.execute(_GIVE_UP_ONE, (object_key,)).rowcount:
                return True
            # A statement of its own, so that it sees what the one before waited for.
            write_something(connection)
            return not _is_kept(connection, object_key)

        return self._database.repeat(give_up)

    def find(self, key: EpisodeKey) -> Placement | None:
        """See `Placements.find`."""
        rows = self._database.read(_FIND, (key.host_id, key.episode_id))
        return Placement(*rows[0]) if rows else None

    def confirm(self, key: EpisodeKey) -> Placement | None:
        """See `Placements.confirm`."""

        def find(connection: Connection) -> Placement | None:
            row = connection.execute(_FIND.encode(), (key.host_id, key.episode_id)).fetchone()
            write_something(connection)
            return Placement(*row) if row else None

        return self._database.repeat(find)

    def set_aside(self, key: EpisodeKey, object_key: str) -> bool:
        """See `Placements.set_aside`."""

        def set_aside(connection: Connection) -> bool:
            done = connection.execute(
                b"UPDATE episodes SET object_key = NULL"
                b" WHERE host_id = %s AND episode_id = %s AND object_key = %s",
                (key.host_id, key.episode_id, object_key),
            ).rowcount
            if done:
                connection.execute(
                    b"INSERT INTO set_aside (object_key, host_id, episode_id) VALUES (%s, %s, %s)",
                    (object_key, key.host_id, key.episode_id),
                )
                return True
            write_something(connection)
            sql = b"SELECT 1 FROM set_aside WHERE object_key = %s AND host_id = %s AND episode_id = %s"
            return connection.execute(sql, (object_key, key.host_id, key.episode_id)).fetchone() is not None

        return self._database.repeat(set_aside)

    def give_up_old(self, before_ns: int) -> Iterator[str]:
        """See `Placements.give_up_old`. Whoever makes an episode of one has its note locked."""
        while rows := self._database.write(_GIVE_UP, (before_ns, _BATCH)):
            yield from (row[0] for row in rows)

    def given_up(self, before_ns: int) -> Iterator[str]:
        """See `Placements.given_up`."""
        after = ""
        while rows := self._database.read(_GIVEN_UP, (before_ns, after, _BATCH)):
            yield from (row[0] for row in rows)
            after = rows[-1][0]

    def forget(self, object_keys: Sequence[str]) -> None:
        """See `Placements.forget`."""
        self._database.write(
            "DELETE FROM uploading WHERE object_key = ANY(%s) AND given_up_at IS NOT NULL",
            (list(object_keys),),
        )

    def unknown(self, object_keys: Sequence[str]) -> AbstractSet[str]:
        """See `Placements.unknown`."""
        # One statement, and so one moment: an upload becomes an episode in one step.
        rows = self._database.read(
            "SELECT name FROM unnest(%s::text[]) AS asked (name)"
            " WHERE NOT EXISTS (SELECT FROM uploading WHERE object_key = name)"
            " AND NOT EXISTS (SELECT FROM episodes WHERE object_key = name)"
            " AND NOT EXISTS (SELECT FROM set_aside WHERE object_key = name)",
            (list(object_keys),),
        )
        return {row[0] for row in rows}

    def all_keys(self) -> Iterator[EpisodeKey]:
        """See `Placements.all_keys`."""
        after = ("", "")
        while rows := self._database.read(
            "SELECT host_id, episode_id FROM episodes WHERE (host_id, episode_id) > (%s, %s)"
            " AND object_key IS NOT NULL ORDER BY host_id, episode_id LIMIT %s",
            (*after, _BATCH),
        ):
            yield from (EpisodeKey(*row) for row in rows)
            after = rows[-1]


def _is_kept(connection: Connection, object_key: str) -> bool:
    row = connection.execute(
        b"SELECT EXISTS (SELECT FROM episodes WHERE object_key = %s)"
        b" OR EXISTS (SELECT FROM set_aside WHERE object_key = %s)",
        (object_key, object_key),
    ).fetchone()
    return bool(row and row[0])

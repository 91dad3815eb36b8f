"""Releases as rows, and the notes of tables that are to become some."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.index.base.releases import About, Release, ReleaseExists
from cis490_receiver.index.release_table import Name, SparseIndex
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.expressions import nanoseconds
from cis490_receiver.postgres.pool import Database, Row, write_something

_COLUMNS: Final = "name, sha256, size_bytes, episodes, episode_bytes, hosts, about"
_FIND: Final = f"SELECT object_key, {nanoseconds('made_at')}, {_COLUMNS} FROM releases WHERE name = %s"
_INSERT: Final = f"""
INSERT INTO releases (object_key, sparse_index, {_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (name) DO NOTHING
"""
#: A note of that long ago becomes garbage, and what was garbage stays it.
_GIVE_UP: Final = """
UPDATE releases_being_made SET is_garbage = true
WHERE is_garbage OR noted_at < clock_timestamp() - make_interval(secs => %s) RETURNING object_key
"""


@dataclass(frozen=True, slots=True)
class FoundRelease:
    """A release, the key of its table, and when that was made, in nanoseconds since the epoch."""

    release: Release
    object_key: str
    made_ns: int


class ReleaseRows:
    """The releases, and what is being made. Errors are those of `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Release]:
        """All of them, in no particular order."""
        return [_release(*row) for row in self._database.read(f"SELECT {_COLUMNS} FROM releases")]

    def find(self, name: str) -> FoundRelease | None:
        """The release `name`; None when there is none."""
        for object_key, made_ns, *columns in self._database.read(_FIND, (name,)):
            return FoundRelease(_release(*columns), object_key, made_ns)
        return None

    def sparse_index(self, name: str) -> SparseIndex:
        """Where some lines of the table of `name` begin."""
        rows = self._database.read("SELECT sparse_index FROM releases WHERE name = %s", (name,))
        marks = json.loads(rows[0][0]) if rows else ()
        return SparseIndex((offset, (host_id, episode_id)) for offset, host_id, episode_id in marks)

    def note(self, name: str, object_key: str) -> None:
        """Note, durably, that the table of a release `name` is about to be written."""
        self._database.write(
            "INSERT INTO releases_being_made (object_key, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (object_key, name),
        )

    def add(self, release: Release, object_key: str, marks: Sequence[tuple[int, Name]]) -> None:
        """Let the release take the place of its note, durably, if its name is free. `marks` are of its `SparseIndex`.

        Raises:
            ReleaseExists: it is not.
            StorageFailed: the note was taken away; the table is being deleted.
        """
        values = _values(release, object_key, marks)

        def do(connection: Connection) -> None:
            noted = connection.execute(
                b"DELETE FROM releases_being_made WHERE object_key = %s AND NOT is_garbage", (object_key,)
            ).rowcount
            if connection.execute(_INSERT.encode(), values).rowcount:
                if not noted:
                    raise StorageFailed from ValueError("the release was made slower than anybody waits for")
                return
            mine = connection.execute(
                b"SELECT true FROM releases WHERE name = %s AND object_key = %s", (release.name, object_key)
            ).fetchone()
            if mine is None:
                raise ReleaseExists.named(release.name)
            # It was done, and the answer lost.
            write_something(connection)

        self._database.repeat(do)

    def give_up(self, object_key: str) -> bool:
        """Let no release come of a table any more, durably; False when one did. For who made the table."""

        def do(connection: Connection) -> bool:
            # It waits for an `add` that is not over, as one whose connection broke.
            connection.execute(
                b"UPDATE releases_being_made SET is_garbage = true WHERE object_key = %s", (object_key,)
            )
            made = connection.execute(b"SELECT true FROM releases WHERE object_key = %s", (object_key,))
            return made.fetchone() is None

        return self._database.repeat(do)

    def garbage(self, *, older_than_seconds: float) -> Iterator[str]:
        """The keys of tables that nobody made a release of in so many seconds, by the clock of the database, and of
        those that were given up. No release comes of them any more."""
        return (object_key for (object_key,) in self._database.write(_GIVE_UP, (older_than_seconds,)))

    def forget(self, object_keys: Sequence[str]) -> None:
        """Take away the notes of garbage that was deleted."""
        self._database.write(
            "DELETE FROM releases_being_made WHERE object_key = ANY(%s) AND is_garbage", (list(object_keys),)
        )


def _values(release: Release, object_key: str, marks: Sequence[tuple[int, Name]]) -> Row:
    sparse_index = json.dumps([(offset, *name) for offset, name in marks], separators=(",", ":"))
    amounts = (release.size_bytes, release.episodes, release.episode_bytes, release.hosts)
    about = json.dumps(asdict(release.about))
    return (object_key, sparse_index, release.name, release.sha256, *amounts, about)


def _release(
    name: str, sha256: str, size_bytes: int, episodes: int, episode_bytes: int, hosts: int, about: str
) -> Release:
    return Release(
        name=name,
        sha256=sha256,
        size_bytes=size_bytes,
        episodes=episodes,
        episode_bytes=episode_bytes,
        hosts=hosts,
        about=About(**json.loads(about)),
    )

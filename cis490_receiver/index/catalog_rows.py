"""The catalog's tables: their layout, and how lines of the journal become rows.

There are two sets of the same tables: ``disk``, which the processes share, and ``main``, in the memory of one
connection, with the lines that are not on disk yet. Queries ask the views ``episodes`` and ``hosts``, which show both
as one.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

from cis490_receiver.index import sums, withdrawals
from cis490_receiver.index.rows import Row, row_of, texts_of
from cis490_receiver.logfmt import event
from cis490_receiver.models import EPISODE_FIELDS, Episode
from cis490_receiver.stamps import DECLARED

log = logging.getLogger(__name__)

#: Sums stop here, so that no file, whatever it says, makes one that does not fit 63 bits.
_MOST: Final = (1 << 62) - 1

_TYPES: Final = {"str": "TEXT NOT NULL", "int": "INTEGER NOT NULL", "str | None": "TEXT"}
_TABLES: Final = (
    f"""
    CREATE TABLE {{schema}}.episodes (
        {", ".join(f"{item.name} {_TYPES[str(item.type)]}" for item in fields(Episode))},
        line_offset INTEGER NOT NULL,
        UNIQUE (host_id, episode_id)
    )
    """,
    """
    CREATE TABLE {schema}.hosts (
        host_id TEXT PRIMARY KEY, first_received_at_ns INTEGER NOT NULL, last_received_at_ns INTEGER NOT NULL,
        episodes INTEGER NOT NULL, size_bytes INTEGER NOT NULL, last_episode_id TEXT NOT NULL, last_code_commit TEXT
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE {schema}.position (
        generation TEXT NOT NULL, offset INTEGER NOT NULL, fingerprint TEXT NOT NULL, bad_lines INTEGER NOT NULL
    )
    """,
    "INSERT INTO {schema}.position VALUES ('', 0, '', 0)",
    *sums.TABLES,
)
_INDEXES: Final = {
    "by_time": "received_at_ns, host_id",
    "by_host": "host_id, received_at_ns",
    "by_kind": "episode_type, benign_profile, received_at_ns",
    **{f"by_{declared.name}": f"{declared.name}, received_at_ns" for declared in DECLARED if declared.filter},
}
#: Stands in the file; another number there means another layout, and a new catalog.
LAYOUT: Final = zlib.crc32(repr((_TABLES, _INDEXES)).encode("ascii")) >> 1
#: Rows on disk whose episode has a newer line in memory; the last line of a name counts.
_REPLACED: Final = "CREATE TABLE main.replaced (id INTEGER PRIMARY KEY, host_id TEXT, size_bytes INTEGER)"
#: What was on disk when the rows in memory, which follow it, were begun.
_BASE: Final = "CREATE TABLE main.base (generation TEXT, offset INTEGER, fingerprint TEXT)"
_VIEWS: Final = (
    """
    CREATE TEMP VIEW episodes AS
    SELECT * FROM disk.episodes WHERE rowid NOT IN (SELECT id FROM main.replaced)
    UNION ALL SELECT * FROM main.episodes
    """,
    """
    CREATE TEMP VIEW host_parts AS
    SELECT * FROM disk.hosts UNION ALL SELECT * FROM main.hosts
    UNION ALL SELECT host_id, 9223372036854775807, -1, -1, -size_bytes, '', NULL FROM main.replaced
    """,
    """
    CREATE TEMP VIEW hosts AS
    SELECT host_id, first_received_at_ns, last_received_at_ns, episodes, size_bytes, last_episode_id, last_code_commit
    FROM (
        SELECT host_id, min(first_received_at_ns) AS first_received_at_ns, sum(episodes) AS episodes,
            sum(size_bytes) AS size_bytes
        FROM host_parts GROUP BY host_id
    ) JOIN (
        -- The bare columns are those of the row with the maximum (sqlite.org, SELECT, §2.5).
        SELECT host_id, max(last_received_at_ns) AS last_received_at_ns, last_episode_id, last_code_commit
        FROM host_parts GROUP BY host_id
    ) USING (host_id)
    """,
    *sums.VIEWS,
)

_INSERT: Final = f"INSERT OR IGNORE INTO {{schema}}.episodes VALUES ({'?, ' * len(EPISODE_FIELDS)}?)"
#: Texts become integers by themselves where a column has those (sqlite.org, *Datatypes*, §3).
_INSERT_TEXTS: Final = (
    "INSERT OR IGNORE INTO {schema}.episodes VALUES ("
    + "".join("nullif(?, ''), " if "None" in str(item.type) else "?, " for item in fields(Episode))
    + "?)"
)
_FROM_ROWID: Final = f"""
SELECT {", ".join(EPISODE_FIELDS)} FROM {{schema}}.episodes
WHERE rowid >= ? AND ('{{schema}}' = 'main' OR rowid NOT IN (SELECT id FROM main.replaced)) ORDER BY rowid LIMIT 1
"""
_NAMED: Final = "{schema}.episodes WHERE host_id = ? AND episode_id = ?"
_UNCOUNT_HOST: Final = """
UPDATE {schema}.hosts SET episodes = episodes - 1, size_bytes = size_bytes - ? WHERE host_id = ?
"""
_COUNT_HOST: Final = f"""
INSERT INTO {{schema}}.hosts VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (host_id) DO UPDATE SET
    first_received_at_ns = min(first_received_at_ns, excluded.first_received_at_ns),
    episodes = episodes + excluded.episodes, size_bytes = min(size_bytes + excluded.size_bytes, {_MOST}),
    last_episode_id = CASE WHEN excluded.last_received_at_ns >= last_received_at_ns
        THEN excluded.last_episode_id ELSE last_episode_id END,
    last_code_commit = CASE WHEN excluded.last_received_at_ns >= last_received_at_ns
        THEN excluded.last_code_commit ELSE last_code_commit END,
    last_received_at_ns = max(last_received_at_ns, excluded.last_received_at_ns)
"""
_HOST, _EPISODE, _SIZE, _TIME, _COMMIT = map(
    EPISODE_FIELDS.index, ("host_id", "episode_id", "size_bytes", "received_at_ns", "code_commit")
)
#: How many rows are counted before the sums are put where they belong: 20 MB of memory at most.
_COUNTED_AT_ONCE: Final = 50_000


def make_shared_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of ``disk``, in place of those of another layout."""
    for kind, name in connection.execute("SELECT type, name FROM disk.sqlite_master").fetchall():
        if kind == "table" and not name.startswith("sqlite_"):
            connection.execute(f'DROP TABLE disk."{name}"')
    _make_tables(connection, "disk")
    connection.execute(f"PRAGMA disk.user_version = {LAYOUT}")


def make_indexes(connection: sqlite3.Connection, schema: str) -> None:
    """Make the indexes of one set, where it is to have more than a few rows."""
    for name, columns in _INDEXES.items():
        connection.execute(f"CREATE INDEX IF NOT EXISTS {schema}.{name} ON episodes ({columns})")


def drop_indexes(connection: sqlite3.Connection, schema: str) -> None:
    """Take them away until there are many rows: to keep them up row by row takes three times as long."""
    for name in _INDEXES:
        connection.execute(f"DROP INDEX IF EXISTS {schema}.{name}")


def make_own_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of ``main``, and the views over both sets."""
    _make_tables(connection, "main")
    connection.execute(_REPLACED)
    connection.execute(_BASE)
    connection.execute("INSERT INTO main.base VALUES ('', 0, '')")
    for statement in withdrawals.TABLES:
        connection.execute(statement)
    for view in _VIEWS:
        connection.execute(view)


def _make_tables(connection: sqlite3.Connection, schema: str) -> None:
    for statement in _TABLES:
        connection.execute(statement.format(schema=schema))


def empty(connection: sqlite3.Connection, schema: str) -> None:
    """Take out every row of one set."""
    for table in ("episodes", "hosts", *(["replaced"] if schema == "main" else [])):
        connection.execute(f"DELETE FROM {schema}.{table}")
    sums.empty(connection, schema)
    connection.execute(
        f"UPDATE {schema}.position SET generation = '', offset = 0, fingerprint = '', bad_lines = 0"
    )


class Batches:
    """Takes up lines of the journal, batch by batch, into one set. Sums are put there at the end, or they would take
    longer than the rows."""

    def __init__(self, connection: sqlite3.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._counted = sums.Counted()
        self._hosts = _Hosts()
        #: How many lines were no records.
        self.bad = 0

    def add(self, offsets: Sequence[int], lines: Sequence[bytes]) -> None:
        """Take up lines, each of which begins at one of `offsets`."""
        newest = _newest(self._connection, "main")
        texts = texts_of(lines)
        if texts is not None:
            self._add([(*row, offset) for row, offset in zip(texts, offsets, strict=True)], _INSERT_TEXTS)
        else:
            self._add(self._parsed(offsets, lines), _INSERT)
        if self._schema == "main":
            _replace_since(self._connection, newest)
        if self._counted.rows > _COUNTED_AT_ONCE:
            self.end()

    def end(self) -> None:
        """Put the sums where the rows are."""
        self._counted.put(self._connection, self._schema)
        self._hosts.put(self._connection, self._schema)

    def _parsed(self, offsets: Sequence[int], lines: Sequence[bytes]) -> list[Row]:
        rows = []
        for offset, line in zip(offsets, lines, strict=True):
            try:
                rows.append((*row_of(Episode.from_line(line)), offset))
            except ValueError as exc:
                self.bad += 1
                log.warning(event("journal-bad-line", reason=exc, line=line[:80]))
        return rows

    def _add(self, rows: Sequence[Row], insert: str) -> None:
        """At once when every episode of `rows` is new, else one by one, the last line of each counting."""
        connection, schema = self._connection, self._schema
        newest, before = _newest(connection, schema), connection.total_changes
        insert = insert.format(schema=schema)
        connection.executemany(insert, rows)
        if connection.total_changes - before == len(rows):
            self._counted.add(rows)
            self._hosts.add(rows)
            return
        # A savepoint to go back to would cost half as much again, for what hardly ever happens.
        connection.execute(f"DELETE FROM {schema}.episodes WHERE rowid > ?", (newest,))
        self.end()
        for row in rows:
            _take_off(connection, schema, row)
            connection.execute(insert, row)
            self._counted.add([row])
            self._hosts.add([row])
            self.end()


def _replace_since(connection: sqlite3.Connection, rowid: int) -> None:
    """Hide what is on disk of the episodes that were taken into memory behind `rowid`."""
    on_disk = connection.execute(
        "SELECT d.rowid FROM main.episodes AS m "
        "CROSS JOIN disk.episodes AS d ON d.host_id = m.host_id AND d.episode_id = m.episode_id "
        "WHERE m.rowid > ? AND d.rowid NOT IN (SELECT id FROM main.replaced)",
        (rowid,),
    ).fetchall()
    for row in on_disk:
        sums.count(connection, "main", -1, "disk.episodes WHERE rowid = ?", row)
        connection.execute(
            "INSERT INTO main.replaced SELECT rowid, host_id, size_bytes FROM disk.episodes WHERE rowid = ?",
            row,
        )


def _newest(connection: sqlite3.Connection, schema: str) -> int:
    """The highest rowid; rows that come are numbered from there."""
    return int(connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {schema}.episodes").fetchone()[0])


def _take_off(connection: sqlite3.Connection, schema: str, row: Row) -> None:
    """Take away the row that has the name of `row`, if there is one."""
    name = (row[_HOST], row[_EPISODE])
    this = _NAMED.format(schema=schema)
    known = connection.execute(f"SELECT size_bytes FROM {this}", name).fetchone()
    if known is not None:
        sums.count(connection, schema, -1, this, name)
        connection.execute(f"DELETE FROM {this}", name)
        connection.execute(_UNCOUNT_HOST.format(schema=schema), (known[0], row[_HOST]))


class _Hosts:
    """What new rows add to the sums of their hosts."""

    def __init__(self) -> None:
        #: By host: the first time and the last, how many, their bytes, and the name and commit of the last.
        self._hosts: dict[str, list[Any]] = {}

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            time_ns, size = int(row[_TIME]), int(row[_SIZE])
            host = self._hosts.get(row[_HOST])
            if host is None:
                self._hosts[row[_HOST]] = [time_ns, time_ns, 1, size, row[_EPISODE], row[_COMMIT]]
                continue
            host[2] += 1
            host[3] += size
            if time_ns < host[0]:
                host[0] = time_ns
            elif time_ns >= host[1]:
                host[1], host[4], host[5] = time_ns, row[_EPISODE], row[_COMMIT]

    def put(self, connection: sqlite3.Connection, schema: str) -> None:
        connection.executemany(
            _COUNT_HOST.format(schema=schema),
            (
                (host_id, first, last, episodes, min(size, _MOST), episode, commit or None)
                for host_id, (first, last, episodes, size, episode, commit) in self._hosts.items()
            ),
        )
        self._hosts.clear()


def sample(connection: sqlite3.Connection, count: int, choose: random.Random) -> list[Episode]:
    """At most `count` rows of both sets that chance picks."""
    on_disk, in_memory = _newest(connection, "disk"), _newest(connection, "main")
    drawn = sorted(
        {choose.randint(1, on_disk + in_memory) for _ in range(count if on_disk + in_memory else 0)}
    )
    rows = []
    for number in drawn:
        schema, rowid = ("disk", number) if number <= on_disk else ("main", number - on_disk)
        rows.append(connection.execute(_FROM_ROWID.format(schema=schema), (rowid,)).fetchone())
    # Two of them may have led to one row, across a gap; or to none, behind the last.
    return [Episode.from_row(row) for row in dict.fromkeys(rows) if row is not None]

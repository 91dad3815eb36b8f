"""A SQLite read model of index.jsonl, for everything that would otherwise read the whole journal.

The journal is the truth. The catalog remembers how far it has read (the journal's inode, the offset, and
a digest of the bytes before it) in the same transaction as the rows, so it can neither miss nor repeat
a line, and starts over when the journal was swapped, cut or edited. It may be deleted at any time while the
receiver is stopped; a damaged one is thrown away and made anew.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import logging
import operator
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from cis490_receiver.errors import StorageFailed
from cis490_receiver.index.journal import Journal
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Stands in the file; another number there means another layout, and a rebuild.
LAYOUT: Final = 2
#: Read and taken up at a time: larger steps are a few per cent faster and several times as much memory.
_READ_STEP: Final = 512 << 10
#: How many bytes before the offset vouch for the journal being the same file, unedited at its end.
_FINGERPRINT_BYTES: Final = 4096
#: Long enough for whoever reads a million lines in.
_BUSY_SECONDS: Final = 120
#: How many connections a process keeps, with 6 MB of the file at most each.
IDLE_CONNECTIONS: Final = 4

_Identity = tuple[int, int]

_SCHEMA: Final = """
CREATE TABLE episodes (
    host_id TEXT NOT NULL, episode_id TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    schema_version INTEGER NOT NULL, code_commit TEXT, episode_type TEXT, benign_profile TEXT,
    received_at_wall TEXT NOT NULL, received_at_ns INTEGER NOT NULL,
    UNIQUE (host_id, episode_id)
);
CREATE INDEX by_time ON episodes (received_at_ns);
CREATE INDEX by_host ON episodes (host_id, received_at_ns);
CREATE INDEX by_commit ON episodes (code_commit, received_at_ns);
CREATE INDEX by_profile ON episodes (benign_profile, received_at_ns);
CREATE INDEX by_kind ON episodes (episode_type, benign_profile, received_at_ns);
CREATE INDEX by_type ON episodes (episode_type, received_at_ns);
CREATE TABLE hosts (
    host_id TEXT PRIMARY KEY, first_received_at_ns INTEGER NOT NULL, last_received_at_ns INTEGER NOT NULL,
    episodes INTEGER NOT NULL, size_bytes INTEGER NOT NULL, last_episode_id TEXT NOT NULL,
    last_code_commit TEXT
) WITHOUT ROWID;
CREATE TABLE position (
    inode INTEGER NOT NULL, offset INTEGER NOT NULL, fingerprint TEXT NOT NULL, bad_lines INTEGER NOT NULL
);
INSERT INTO position VALUES (0, 0, '', 0);
"""

_INSERT_NEW: Final = "INSERT OR IGNORE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ROW: Final = operator.attrgetter(*(item.name for item in fields(Episode)))
_SIZE_OF: Final = "SELECT size_bytes FROM episodes WHERE host_id = ? AND episode_id = ?"
_UNCOUNT_HOST: Final = """
UPDATE hosts SET episodes = episodes - 1, size_bytes = size_bytes - ? WHERE host_id = ?
"""
_COUNT_HOST: Final = """
INSERT INTO hosts VALUES (:host, :first, :last, :episodes, :size, :episode, :commit)
ON CONFLICT (host_id) DO UPDATE SET
    first_received_at_ns = min(first_received_at_ns, :first),
    episodes = episodes + :episodes, size_bytes = size_bytes + :size,
    last_episode_id = CASE WHEN :last >= last_received_at_ns THEN :episode ELSE last_episode_id END,
    last_code_commit = CASE WHEN :last >= last_received_at_ns THEN :commit ELSE last_code_commit END,
    last_received_at_ns = max(last_received_at_ns, :last)
"""


class Catalog:
    """See the module. Threads and processes may share it."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path = path
        self._journal = journal
        #: Told how many bytes of the journal are read, and of how many, while the catalog catches up.
        self.on_read: Callable[[int, int], None] = lambda _done, _total: None
        self._idle: collections.deque[tuple[_Identity, sqlite3.Connection]] = collections.deque()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Catch up with the journal, then run `query` on what is there.

        A catalog that SQLite finds damaged is made anew, once.

        Raises:
            StorageFailed: the disk or a lock stands in the way.
        """
        try:
            return self._read(query)
        except (sqlite3.OperationalError, OSError) as exc:
            log.error(event("storage-failed", doing="catalog", reason=exc))
            raise StorageFailed from exc
        except sqlite3.DatabaseError as exc:
            log.warning(event("catalog-damaged", reason=exc, remedy="made anew from the journal"))
            self._throw_away()
            return self._read(query)

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with self._borrowed() as connection:
            self._catch_up(connection)
            return query(connection)

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """A connection for one reader. A few are kept for the next ones, however many threads there are: each
        has pages of the file in memory."""
        identity, connection = self._take()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append((identity, connection))
        else:
            connection.close()

    def _take(self) -> tuple[_Identity, sqlite3.Connection]:
        # A connection must not be used across a fork, nor after its file was replaced.
        current = (os.getpid(), _inode(self._path))
        with contextlib.suppress(IndexError):
            while True:
                identity, connection = self._idle.pop()
                if identity == current:
                    return identity, connection
                connection.close()
        connection = self._open()
        return (os.getpid(), _inode(self._path)), connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Derived data: a crash may cost the newest rows, which the journal still has, but not consistency.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # In KiB, negative: at a million episodes the indexes' hot pages do not fit the default of 2 MB.
        connection.execute("PRAGMA cache_size = -6000")
        if connection.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            _make_schema(connection)
        return connection

    def close(self) -> None:
        """Close the connections that are kept, as must be done before a fork."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()

    def _throw_away(self) -> None:
        self.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._path}{suffix}")

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        stream, end = self._journal.open()
        with stream:
            inode = os.fstat(stream.fileno()).st_ino
            # The length alone does not tell: a crash or a failed sync takes the last line away, and the next
            # one may be as long.
            if self._position(connection) == (inode, end, _fingerprint(stream, end)):
                return
            with _transaction(connection):
                offset = self._resume_offset(connection, stream, inode, end)
                bad = _load(connection, stream, offset, end, self.on_read)
                connection.execute(
                    "UPDATE position SET inode = ?, offset = ?, fingerprint = ?, bad_lines = bad_lines + ?",
                    (inode, end, _fingerprint(stream, end), bad),
                )

    @staticmethod
    def _position(connection: sqlite3.Connection) -> tuple[int, int, str]:
        row = connection.execute("SELECT inode, offset, fingerprint FROM position").fetchone()
        return int(row[0]), int(row[1]), str(row[2])

    def _resume_offset(self, connection: sqlite3.Connection, stream: BinaryIO, inode: int, end: int) -> int:
        """Where to go on reading; 0, with every row gone, when what was read is not there any more."""
        old_inode, offset, fingerprint = self._position(connection)
        if old_inode == inode and offset <= end and _fingerprint(stream, offset) == fingerprint:
            return offset
        if offset:
            log.warning(event("catalog-rebuild", reason="the journal was swapped, cut or edited"))
        connection.execute("DELETE FROM episodes")
        connection.execute("DELETE FROM hosts")
        connection.execute("UPDATE position SET bad_lines = 0")
        return 0


def _make_schema(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        if connection.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            for kind, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
                if kind == "table":
                    connection.execute(f'DROP TABLE "{name}"')
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _load(
    connection: sqlite3.Connection,
    stream: BinaryIO,
    offset: int,
    end: int,
    on_read: Callable[[int, int], None],
) -> int:
    """Take up the lines from `offset` to `end`; gives the number of those that are no records."""
    bad = 0
    start = offset
    stream.seek(offset)
    rest = b""
    while offset < end:
        piece = stream.read(min(_READ_STEP, end - offset))
        if not piece:
            break
        offset += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        episodes = []
        for line in lines:
            try:
                episodes.append(Episode.from_line(line))
            except ValueError as exc:
                bad += 1
                log.warning(event("journal-bad-line", reason=exc, line=line[:80]))
        _add(connection, episodes)
        on_read(offset - start, end - start)
    return bad


def _add(connection: sqlite3.Connection, episodes: list[Episode]) -> None:
    """Take up a batch: at once when every episode in it is new, else one by one, the last line of each
    counting."""
    connection.execute("SAVEPOINT batch")
    before = connection.total_changes
    connection.executemany(_INSERT_NEW, map(_ROW, episodes))
    if connection.total_changes - before == len(episodes):
        _count(connection, episodes)
    else:
        connection.execute("ROLLBACK TO batch")
        for episode in episodes:
            _add_one(connection, episode)
    connection.execute("RELEASE batch")


def _add_one(connection: sqlite3.Connection, episode: Episode) -> None:
    name = (episode.host_id, episode.episode_id)
    known = connection.execute(_SIZE_OF, name).fetchone()
    if known is not None:
        connection.execute("DELETE FROM episodes WHERE host_id = ? AND episode_id = ?", name)
        connection.execute(_UNCOUNT_HOST, (known[0], episode.host_id))
    connection.execute(_INSERT_NEW, _ROW(episode))
    _count(connection, [episode])


def _count(connection: sqlite3.Connection, episodes: list[Episode]) -> None:
    """Add new episodes to the sums of their hosts."""
    by_host: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_host.setdefault(episode.host_id, []).append(episode)
    for host_id, of_host in by_host.items():
        last = max(of_host, key=lambda episode: episode.received_at_ns)
        connection.execute(
            _COUNT_HOST,
            {
                "host": host_id,
                "first": min(episode.received_at_ns for episode in of_host),
                "last": last.received_at_ns,
                "episodes": len(of_host),
                "size": sum(episode.size_bytes for episode in of_host),
                "episode": last.episode_id,
                "commit": last.code_commit,
            },
        )


def _fingerprint(stream: BinaryIO, offset: int) -> str:
    start = max(0, offset - _FINGERPRINT_BYTES)
    return hashlib.sha256(os.pread(stream.fileno(), offset - start, start)).hexdigest()


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0

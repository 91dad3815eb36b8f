"""A SQLite read model of index.jsonl, for everything that would otherwise read the whole journal.

The journal is the truth. The catalog on disk remembers how far it has read (the journal's generation, the offset, and
a digest of the bytes before it) in the same transaction as the rows, so it can neither miss nor repeat a line, and
starts over when the journal was swapped, cut or edited. It may be deleted at any time while the receiver is stopped; a
damaged one is thrown away and made anew.

**Reading needs no disk space.** What the catalog on disk lacks is read into the memory of the connection that asks, and
is put on disk only when it has grown. Where that fails, because the disk is full or read-only, it stays in memory
and is tried again later. The file has a rollback journal, not a write-ahead log: the latter maps a file into memory,
and a full disk below such a mapping kills the process (SIGBUS).
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from cis490_receiver.errors import StorageFailed
from cis490_receiver.files.lines import end_of_lines, placed_batches
from cis490_receiver.index import catalog_rows, withdrawals
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.index.position import fingerprint, position_of
from cis490_receiver.index.source import JournalSource
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How many bytes of lines are read into memory again and again before they are put on disk.
_KEPT_IN_MEMORY: Final = 512 << 10
#: How many bytes of lines are put on disk at a time: others may read in between.
_SHARED_STEP: Final = 16 << 20
#: How long a failure to put them there is not tried again, in seconds.
_RETRY_SECONDS: Final = 30.0
#: Long enough for whoever puts a step on disk.
_BUSY_SECONDS: Final = 120
#: How many connections a process keeps, with 6 MB of the file at most each.
IDLE_CONNECTIONS: Final = 4

#: What SQLite calls a database in memory.
_NO_FILE: Final = ":memory:"

_Identity = tuple[int, int]

OnRead = Callable[[int, int], None]


class Catalog:
    """See the module. Threads and processes may share it."""

    def __init__(self, path: Path, journal: JournalSource) -> None:
        self._path = path
        self._journal = journal
        self._withdrawn = path.with_name(withdrawals.WITHDRAWN_NAME)
        #: Told how many bytes of the journal are read, and of how many, while the catalog catches up.
        self.on_read: OnRead = lambda _done, _total: None
        self._idle: collections.deque[tuple[_Identity, sqlite3.Connection]] = collections.deque()
        self._lone = threading.Lock()
        self._lone_connection: tuple[int, sqlite3.Connection] | None = None
        #: When the file is tried again after a failure to read it, and to write it, on the monotonic clock.
        self._read_again_at = 0.0
        self._write_again_at = 0.0

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Catch up with the journal, then run `query` on the views ``episodes`` and ``hosts``.

        A catalog that SQLite finds damaged is made anew, once; one that cannot be used is done without.

        Raises:
            StorageFailed: the journal cannot be read.
        """
        try:
            for _ in range(2):
                if time.monotonic() < self._read_again_at:
                    break
                try:
                    with self._borrowed() as connection:
                        return self._ask(connection, query)
                except sqlite3.OperationalError as exc:
                    log.error(
                        event("catalog-unusable", reason=exc, remedy="all of the journal kept in memory")
                    )
                    self._read_again_at = time.monotonic() + _RETRY_SECONDS
                except sqlite3.DatabaseError as exc:
                    log.warning(event("catalog-damaged", reason=exc, remedy="made anew from the journal"))
                    self._throw_away()
            return self._read_without_file(query)
        except (sqlite3.Error, OSError) as exc:
            log.error(event("storage-failed", doing="catalog", reason=exc))
            raise StorageFailed from exc

    def _read_without_file(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """`read`, by the one connection that has all of the journal in memory."""
        with self._lone:
            if self._lone_connection is None or self._lone_connection[0] != os.getpid():
                self._lone_connection = (os.getpid(), _connect(_NO_FILE))
                catalog_rows.make_indexes(self._lone_connection[1], "main")
            return self._ask(self._lone_connection[1], query)

    def _ask(self, connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
        journal = self._journal.open()
        with journal.stream:
            if _is_to_be_shared(connection, journal) and time.monotonic() >= self._write_again_at:
                self._share(journal)
                self._look_at_file(connection)
            # One transaction: nobody changes what is on disk between the look at its position and the query.
            with _transaction(connection, "BEGIN"):
                _catch_up(connection, journal, self.on_read)
                withdrawals.follow(connection, self._withdrawn)
                return query(connection)

    def _share(self, journal: OpenJournal) -> None:
        """Put what has grown too long for memory on disk, if that can be done now."""
        try:
            # With scratch files, where readers keep to memory: this is much, and needs space anyway.
            with contextlib.closing(_connect(str(self._path), scratch="FILE")) as connection:
                while _is_to_be_shared(connection, journal):
                    with _transaction(connection, "BEGIN IMMEDIATE"):
                        # Another process may have been faster.
                        position = position_of(connection, "disk.position")
                        start = position.offset if position.is_in(journal) else 0
                        if start == 0 and position.offset:
                            log.warning(
                                event("catalog-rebuild", reason="the journal was swapped, cut or edited")
                            )
                        _take_up(connection, "disk", journal, start, _step_end(journal, start), self.on_read)
        except (sqlite3.OperationalError, OSError) as exc:
            self._write_again_at = time.monotonic() + _RETRY_SECONDS
            log.warning(event("catalog-not-written", reason=exc, remedy="kept in memory until there is room"))

    def _look_at_file(self, connection: sqlite3.Connection) -> None:
        """Let `connection` see the file that was made meanwhile, if it was opened when there was none."""
        seen = {name: file for _, name, file in connection.execute("PRAGMA database_list")}
        if not seen["disk"] and _inode(self._path):
            connection.execute("DETACH disk")
            _attach(connection, str(self._path))

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
        # No file is made for what is easily kept in memory.
        connection = _connect(str(self._path) if current[1] else _NO_FILE)
        return current, connection

    def close(self) -> None:
        """Close the connections that are kept, as must be done before a fork."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()
        with self._lone:
            if self._lone_connection is not None:
                self._lone_connection[1].close()
                self._lone_connection = None

    def _throw_away(self) -> None:
        self.close()
        for suffix in ("", "-journal"):
            with contextlib.suppress(OSError):
                os.unlink(f"{self._path}{suffix}")


def _connect(shared: str, *, scratch: str = "MEMORY") -> sqlite3.Connection:
    """A connection with tables of its own in memory beside those of the file `shared`."""
    connection = sqlite3.connect(
        _NO_FILE, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA temp_store = {scratch}")
        _attach(connection, shared)
        if connection.execute("PRAGMA disk.user_version").fetchone()[0] != catalog_rows.LAYOUT:
            with _transaction(connection, "BEGIN IMMEDIATE"):
                # Another process may have been faster.
                if connection.execute("PRAGMA disk.user_version").fetchone()[0] != catalog_rows.LAYOUT:
                    catalog_rows.make_shared_tables(connection)
        catalog_rows.make_own_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(connection: sqlite3.Connection, shared: str) -> None:
    connection.execute("ATTACH ? AS disk", (shared,))
    # In KiB, negative: at a million episodes the indexes' hot pages do not fit the default of 2 MB.
    connection.execute("PRAGMA disk.cache_size = -6000")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.OperationalError):
            # After some failures SQLite has done it by itself.
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _is_to_be_shared(connection: sqlite3.Connection, journal: OpenJournal) -> bool:
    position = position_of(connection, "disk.position")
    if not position.is_in(journal):
        return position.offset > 0 or journal.end > _KEPT_IN_MEMORY
    return journal.end - position.offset > _KEPT_IN_MEMORY


def _step_end(journal: OpenJournal, start: int) -> int:
    # Nothing is left that would be kept in memory, as the last step makes the indexes.
    if journal.end - start <= _SHARED_STEP + _KEPT_IN_MEMORY:
        return journal.end
    end = end_of_lines(journal.stream.fileno(), start + _SHARED_STEP)
    return end if end > start else journal.end


def _catch_up(connection: sqlite3.Connection, journal: OpenJournal, on_read: OnRead) -> None:
    """Read into memory what is neither there nor on disk.

    Raises:
        OperationalError: what is on disk is of another journal.
    """
    shared = position_of(connection, "disk.position")
    base, own = position_of(connection, "main.base"), position_of(connection, "main.position")
    if base != shared or not own.is_in(journal):
        if shared.offset and not shared.is_in(journal):
            raise sqlite3.OperationalError("the catalog is out of date and cannot be written")
        catalog_rows.empty(connection, "main")
        connection.execute(
            "UPDATE main.base SET generation = ?, offset = ?, fingerprint = ?",
            (shared.generation, shared.offset, shared.fingerprint),
        )
        own = shared
    if own.offset < journal.end or not own.is_in(journal):
        _take_up(connection, "main", journal, own.offset, journal.end, on_read)


def _take_up(
    connection: sqlite3.Connection, schema: str, journal: OpenJournal, start: int, end: int, on_read: OnRead
) -> None:
    """Take up the lines between two offsets; on disk, from 0 on, in place of all that was there."""
    if start == 0 and schema == "disk":
        catalog_rows.empty(connection, schema)
        catalog_rows.drop_indexes(connection, schema)
    batches, done = catalog_rows.Batches(connection, schema), start
    for offsets, lines in placed_batches(journal.stream.fileno(), start, end):
        batches.add(offsets, lines)
        done += sum(map(len, lines)) + len(lines)
        on_read(done, journal.end)
    batches.end()
    if end == journal.end and schema == "disk":
        catalog_rows.make_indexes(connection, schema)
    connection.execute(
        f"UPDATE {schema}.position SET generation = ?, offset = ?, fingerprint = ?, bad_lines = bad_lines + ?",
        (journal.generation, end, fingerprint(journal, end), batches.bad),
    )


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0

"""withdrawn.jsonl, and what the catalog's queries know of it.

The file has the journal's care: appended to under a lock, synced before anybody is told, torn lines cut before the
next one is written. Several lines at once are one step: they are written with all that was there to a new file, which
then takes the name, so that a crash leaves all of them or none. A name that could not be synced is given anew, to what
was there before, while nobody can append to either file.

The rows are in the memory of each catalog connection, read on from where it was; so they are never older than the
file when a query runs, and need no room on disk.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cis490_receiver.errors import StorageFailed, StorageFull
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import batches, end_of_lines
from cis490_receiver.logfmt import event
from cis490_receiver.withdrawal import Withdrawal

log = logging.getLogger(__name__)

WITHDRAWN_NAME: Final = "withdrawn.jsonl"
_FINGERPRINT_BYTES: Final = 4096

TABLES: Final = (
    """
    CREATE TABLE main.withdrawn (
        host_id TEXT NOT NULL, episode_id TEXT NOT NULL, at_wall TEXT NOT NULL, at_ns INTEGER NOT NULL,
        why TEXT NOT NULL, said_by TEXT NOT NULL, PRIMARY KEY (host_id, episode_id)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE main.withdrawn_position (inode INTEGER, offset INTEGER, fingerprint TEXT)",
    "INSERT INTO main.withdrawn_position VALUES (0, 0, '')",
)
#: The condition that leaves out withdrawn episodes, and the one that leaves only them.
CONDITIONS: Final = {
    "exclude": "(host_id, episode_id) NOT IN (SELECT host_id, episode_id FROM main.withdrawn)",
    "only": "(host_id, episode_id) IN (SELECT host_id, episode_id FROM main.withdrawn)",
}
#: What sums over episodes have too much of, as rows of the same columns below zero. Each set of rows is joined alone:
#: the view of both would be read from its beginning to its end.
TAKEN_OFF: Final = """
SELECT {columns}, -1 AS episodes, -size_bytes AS size_bytes
FROM main.withdrawn CROSS JOIN disk.episodes AS stored USING (host_id, episode_id)
WHERE stored.rowid NOT IN (SELECT id FROM main.replaced)
UNION ALL
SELECT {columns}, -1 AS episodes, -size_bytes AS size_bytes
FROM main.withdrawn CROSS JOIN main.episodes USING (host_id, episode_id)
"""


class WithdrawalFile:
    """See `index.base.WithdrawalLog`."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / WITHDRAWN_NAME
        self._work = data_dir / f".{WITHDRAWN_NAME}.tmp"

    def append(self, items: Sequence[Withdrawal]) -> None:
        """See `WithdrawalLog.append`."""
        lines = [item.to_line() for item in items]
        try:
            with atomic.locked_file(self.path) as fd:
                atomic.cut_torn_lines(fd)
                if len(lines) <= 1:
                    self._sync_name(fd)
                    atomic.append_lines(fd, self.path, lines)
                else:
                    self._append_in_one_step(fd, lines)
        except OSError as exc:
            kind = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
            log.error(event(kind.code, doing="withdraw", file=self.path.name, reason=exc.strerror))
            raise kind from exc

    def _sync_name(self, fd: int) -> None:
        """Who made the file that is open as `fd` of the one before may have been killed before its name was synced."""
        try:
            atomic.sync_folder(self.path.parent)
        except OSError:
            atomic.replace_file(self.path, _content(fd))
            raise

    def _append_in_one_step(self, fd: int, lines: Sequence[bytes]) -> None:
        there = _content(fd)
        # Who waits for the lock of the old file finds that the name went to another one, and takes that.
        with atomic.locked_file(self._work) as new:
            os.ftruncate(new, 0)
            atomic.write_all(new, there + b"".join(lines))
            os.fsync(new)
            os.rename(self._work, self.path)
            try:
                atomic.sync_folder(self.path.parent)
            except OSError:
                # No later sync of this name would mean anything: what was there is named anew.
                atomic.replace_file(self.path, there)
                raise

    def items(self) -> Iterator[Withdrawal]:
        """See `WithdrawalLog.items`."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            for lines in batches(fd, 0, end_of_lines(fd)):
                yield from _parse(lines)
        finally:
            os.close(fd)


def state_of(data_dir: Path) -> object:
    """Something that is another after every withdrawal."""
    try:
        status = (data_dir / WITHDRAWN_NAME).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def follow(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the rows in memory up to what `path` says now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        _forget(connection)
        return
    try:
        inode, end = os.fstat(fd).st_ino, end_of_lines(fd)
        known, offset, fingerprint = connection.execute("SELECT * FROM main.withdrawn_position").fetchone()
        if (known, offset, fingerprint) == (inode, end, _fingerprint(fd, end)):
            return
        # A file that was swapped has the lines of before at its beginning; one that was cut or edited has not.
        if offset > end or _fingerprint(fd, offset) != fingerprint:
            _forget(connection)
            offset = 0
        for lines in batches(fd, offset, end):
            for item in _parse(lines):
                _take_up(connection, item)
        connection.execute(
            "UPDATE main.withdrawn_position SET inode = ?, offset = ?, fingerprint = ?",
            (inode, end, _fingerprint(fd, end)),
        )
    finally:
        os.close(fd)


def _take_up(connection: sqlite3.Connection, item: Withdrawal) -> None:
    if item.withdrawn:
        connection.execute(
            "INSERT OR REPLACE INTO main.withdrawn VALUES (?, ?, ?, ?, ?, ?)",
            (item.host_id, item.episode_id, item.at_wall, item.at_ns, item.why, item.by),
        )
    else:
        connection.execute(
            "DELETE FROM main.withdrawn WHERE host_id = ? AND episode_id = ?", (item.host_id, item.episode_id)
        )


def find(connection: sqlite3.Connection, host_id: str, episode_id: str) -> Withdrawal | None:
    """The withdrawal of an episode that is withdrawn."""
    row = connection.execute(
        "SELECT at_wall, at_ns, why, said_by FROM main.withdrawn WHERE host_id = ? AND episode_id = ?",
        (host_id, episode_id),
    ).fetchone()
    return Withdrawal(row[0], row[1], host_id, episode_id, True, row[2], row[3]) if row else None


def taken_off(columns: Sequence[str], of_row: dict[str, str]) -> str:
    """SQL for the rows that take withdrawn episodes off sums with `columns`, each of which `of_row` makes of a row of
    ``episodes``."""
    return TAKEN_OFF.format(columns=", ".join(f"{of_row[column]} AS {column}" for column in columns))


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _forget(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM main.withdrawn")
    connection.execute("UPDATE main.withdrawn_position SET inode = 0, offset = 0, fingerprint = ''")


def _fingerprint(fd: int, offset: int) -> str:
    start = max(0, offset - _FINGERPRINT_BYTES)
    return hashlib.sha256(os.pread(fd, offset - start, start)).hexdigest()


def _parse(lines: Sequence[bytes]) -> Iterator[Withdrawal]:
    for line in lines:
        try:
            yield Withdrawal.from_line(line)
        except ValueError as exc:
            log.warning(event("withdrawal-bad-line", reason=exc, line=line[:80]))

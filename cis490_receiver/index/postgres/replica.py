"""A copy of the index's lines and the withdrawals' on this machine's disk, which keeps up with the rows.

Each look asks PostgreSQL how long both are, and what is missing here is read and appended. So a look is never older
than the last commit, and all that reads lines, such as the catalog, reads a file as on one machine. The folder may be
deleted while the receiver is stopped.

Nothing is ever in the copy that a failure of the database could take away again: rows can be seen before they are safe,
so they are read in a transaction that writes, and its commit is waited for. While none can be waited for, as there is
no standby, what all receivers know to be safe is shown (`index.postgres.heads`).

The copy is not synced. After a crash of the machine, which the kernel's boot id tells, it is made anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cis490_receiver.errors import DatabaseUnavailable, StorageFailed, StorageFull
from cis490_receiver.files import atomic
from cis490_receiver.files.lines import end_of_lines
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.index.postgres.heads import Head, head_of, note_vouched, rename, vouched_of
from cis490_receiver.index.withdrawals import WITHDRAWN_NAME
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.commits import Connection, UnsafeCommitError
from cis490_receiver.postgres.pool import Database, write_something

log = logging.getLogger(__name__)

FOLDER: Final = "replica"
#: Has the monotonic time, which is that of all processes, at which a commit was last waited for in vain.
_FAILED_NAME: Final = "not-vouched"
#: How many lines one transaction reads.
_BATCH: Final = 5000
_TRIES: Final = 3
#: How long a look waits for a commit, in seconds.
_VOUCHING_SECONDS: Final = 2.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

_LINES: Final = b"""
SELECT line FROM journal WHERE generation = %s AND line_offset >= %s AND line_offset < %s
ORDER BY line_offset LIMIT %s
"""
_WITHDRAWALS: Final = b"""
SELECT line FROM withdrawals WHERE line_offset >= %s AND line_offset < %s ORDER BY line_offset LIMIT %s
"""


class _WentBack(Exception):
    """The rows are not what they were: the database was restored to an earlier time."""


class Replica:
    """The copy in `data_dir` of what `database` has. Any number of processes and threads may share it."""

    def __init__(self, data_dir: Path, database: Database) -> None:
        self.folder = data_dir / FOLDER
        self._database = database
        self._is_seen = False
        self._acknowledged: tuple[int, int] | None = None

    def acknowledge(self, generation: int, end: int) -> None:
        """Lines of `generation` up to `end` were committed, and that was waited for."""
        self._acknowledged = max((generation, end), self._acknowledged or (0, 0))

    def make_durable(self) -> None:
        """See `EpisodeIndex.make_durable`."""
        self._database.repeat(write_something)

    def open(self) -> OpenJournal:
        """The lines as they are now.

        Raises:
            StorageFailed: the database cannot be asked, or the copy not be written.
        """
        try:
            for _ in range(_TRIES):
                # A file that was there a moment ago is not when the index was made anew.
                with contextlib.suppress(_WentBack, FileNotFoundError):
                    return self._open(self.head())
        except OSError as exc:
            kind = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
            log.error(event(kind.code, doing="replica", folder=self.folder, reason=exc.strerror))
            raise kind from exc
        raise StorageFailed("the index changes while it is read; try again")

    def head(self) -> Head:
        """How far the rows go now."""
        return head_of(self._database)

    def _open(self, head: Head) -> OpenJournal:
        if not self._has(head):
            head = self._catch_up(time.monotonic())
        stream = open(self._lines_of(head), "rb")  # noqa: SIM115 - the caller closes it
        return OpenJournal(stream, head.end, head.name, head.modified_ns)

    def _lines_of(self, head: Head) -> Path:
        return self.folder / f"index-{head.name}.jsonl"

    def _has(self, head: Head) -> bool:
        """Whether the copy has all of `head`. What is longer than it may be has to be looked at by one who is alone."""
        sizes = _size(self._lines_of(head)), _size(self.folder / WITHDRAWN_NAME)
        return sizes == (head.end, head.withdrawn_end) and self._is_of_this_boot()

    def _catch_up(self, asked: float) -> Head:
        """Read what is missing, for somebody who asked at the monotonic time `asked`; gives how far that is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic.locked_file(self.folder / "lock"):
            if not self._is_of_this_boot():
                self._begin_anew()
            # One wait that was for nothing is enough for all who wait here meanwhile.
            if asked >= self._failed_at():
                try:
                    return self._all_there_is()
                except DatabaseUnavailable as exc:
                    if not isinstance(exc.__cause__, UnsafeCommitError):
                        raise
                    log.warning(event("not-vouched", shown="what was safe before"))
                    (self.folder / _FAILED_NAME).write_text(repr(time.monotonic()))
            return self._what_is_safe()

    def _failed_at(self) -> float:
        try:
            return float((self.folder / _FAILED_NAME).read_text())
        except (FileNotFoundError, ValueError):
            return 0.0

    def _all_there_is(self) -> Head:
        # Nobody appends meanwhile, so whatever is longer than this is not what the rows say any more.
        head = self.head()
        path = self._lines_of(head)
        if not path.exists():
            self._forget_others(path)
        try:
            with _appending(path) as fd:
                self._read(fd, _LINES, head.end, head.generation)
        except _WentBack:
            log.warning(event("index-went-back", remedy="followers read it from its start again"))
            rename(self._database, head.name)
            raise
        with _appending(self.folder / WITHDRAWN_NAME) as fd:
            try:
                self._read(fd, _WITHDRAWALS, head.withdrawn_end)
            except _WentBack:
                os.ftruncate(fd, 0)
                raise
        note_vouched(self._database, head.generation, head.end, head.withdrawn_end)
        return head

    def _what_is_safe(self) -> Head:
        """What was read here before may go further."""
        if self._acknowledged is not None:
            note_vouched(self._database, *self._acknowledged)
        head = vouched_of(self._database)
        path, withdrawn = self._lines_of(head), self.folder / WITHDRAWN_NAME
        if _size(path) < head.end:
            with _appending(path) as fd:
                self._read(fd, _LINES, head.end, head.generation, is_safe=True)
        if _size(withdrawn) < head.withdrawn_end:
            with _appending(withdrawn) as fd:
                self._read(fd, _WITHDRAWALS, head.withdrawn_end, is_safe=True)
        return head

    def _read(self, fd: int, sql: bytes, end: int, *which: object, is_safe: bool = False) -> None:
        """Append what is missing up to `end` to the file open as `fd`, after seeing that its last line is the rows'.
        Unless that `is_safe` anyway, a commit is waited for."""
        size = end_of_lines(fd)
        os.ftruncate(fd, size)
        if size > end:
            raise _WentBack
        start = end_of_lines(fd, size - 1) if size else 0
        known: bytes | None = os.pread(fd, size - start, start) if size else None
        while start < end:
            lines = self._lines(sql, (*which, start, end, _BATCH), is_safe)
            text = b"".join(lines)
            start += len(text)
            if known is not None:
                if not text.startswith(known):
                    raise _WentBack
                text, known = text[len(known) :], None
            if not lines:
                raise StorageFailed from ValueError("rows of the index are missing")
            atomic.write_all(fd, text)

    def _lines(self, sql: bytes, values: Sequence[object], is_safe: bool) -> list[bytes]:
        def ask(connection: Connection) -> list[bytes]:
            lines = [_whole(row[0]) for row in connection.execute(sql, values)]
            if not is_safe:
                write_something(connection)
            return lines

        return self._database.repeat(ask, commit_seconds=_VOUCHING_SECONDS, reading=True)

    def _is_of_this_boot(self) -> bool:
        if not self._is_seen:
            with contextlib.suppress(OSError):
                self._is_seen = (self.folder / "boot").read_bytes() == _BOOT_ID.read_bytes()
        return self._is_seen

    def _begin_anew(self) -> None:
        self._forget_others(None)
        for name in (WITHDRAWN_NAME, _FAILED_NAME):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            atomic.replace_file(self.folder / "boot", _BOOT_ID.read_bytes())

    def _forget_others(self, kept: Path | None) -> None:
        """Whoever reads one goes on with it."""
        for path in self.folder.glob("index-*.jsonl"):
            if path != kept:
                path.unlink(missing_ok=True)


def _whole(line: bytes | str) -> bytes:
    """With its newline, which the index's rows are without."""
    return line.encode() if isinstance(line, str) else bytes(line) + b"\n"


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[int]:
    fd = os.open(path, _OPEN, atomic.FILE_MODE)
    try:
        yield fd
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return -1

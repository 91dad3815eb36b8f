"""Which lines a journal has, while it is made anew beside its writers."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from typing import Final

from cis490_receiver.index.base.renewal import OldIndex
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.storage.base import EpisodeStore

#: How an episode got its line in the new journal.
_KEPT: Final = 1
_REBUILT: Final = 2


class Lines:
    """Which episodes have a line: a scratch table on disk, without a name, gone with the process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Lines]:
        with contextlib.closing(sqlite3.connect("", isolation_level=None)) as connection:
            connection.execute(
                "CREATE TABLE lines (host_id TEXT, episode_id TEXT, count INTEGER, kept INTEGER, "
                "PRIMARY KEY (host_id, episode_id)) WITHOUT ROWID"
            )
            yield cls(connection)

    def count(self, key: EpisodeKey) -> None:
        """Note that the journal has a line, or one more, of `key`."""
        self._connection.execute(
            "INSERT INTO lines VALUES (?, ?, 1, 0) ON CONFLICT DO UPDATE SET count = count + 1",
            (key.host_id, key.episode_id),
        )

    def is_repeated(self, key: EpisodeKey) -> bool:
        """Whether the journal has several lines of `key`."""
        return self._look_up("count", key) > 1

    def keep(self, key: EpisodeKey, *, rebuilt: bool = False) -> bool:
        """Note that a line of `key` is in the new journal; False when one is there already."""
        if self.is_kept(key):
            return False
        self._connection.execute(
            "INSERT INTO lines VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET kept = excluded.kept",
            (key.host_id, key.episode_id, _REBUILT if rebuilt else _KEPT),
        )
        return True

    def is_kept(self, key: EpisodeKey) -> bool:
        """Whether a line of `key` is in the new journal."""
        return self._look_up("kept", key) != 0

    def overtaken(self, appended: Iterable[EpisodeKey], store: EpisodeStore) -> set[EpisodeKey]:
        """Whose line in the new journal is not to stay: those that have one among the lines that were `appended`
        meanwhile, and those whose line was rebuilt for what is not published any more."""
        found = {key for key in appended if self.is_kept(key)}
        rebuilt = self._connection.execute(
            "SELECT host_id, episode_id FROM lines WHERE kept = ?", (_REBUILT,)
        )
        found.update(key for key in (EpisodeKey(*row) for row in rebuilt) if not store.exists(key))
        return found

    def _look_up(self, column: str, key: EpisodeKey) -> int:
        sql = f"SELECT {column} FROM lines WHERE host_id = ? AND episode_id = ?"
        row = self._connection.execute(sql, (key.host_id, key.episode_id)).fetchone()
        return int(row[0]) if row else 0


class Newest:
    """The episodes whose lines were appended since the journal was read. Threads may share it."""

    def __init__(self, old: OldIndex) -> None:
        self._old = old
        self._keys: set[EpisodeKey] = set()
        self._lock = threading.Lock()

    def has(self, key: EpisodeKey) -> bool:
        """Whether `key` is among them by now."""
        with self._lock:
            self._keys.update(keys_of(self._old.appended()))
            return key in self._keys


def count_lines(lines: Lines, journal: Iterable[bytes]) -> None:
    for key in keys_of(journal):
        lines.count(key)


def keys_of(lines: Iterable[bytes]) -> Iterator[EpisodeKey]:
    for line in lines:
        with contextlib.suppress(ValueError):
            yield Episode.from_line(line).key

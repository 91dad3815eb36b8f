"""Marks and memos in rows."""

from __future__ import annotations

import json
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.errors import StorageFailed
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import Database

_NAME: Final = "health-check"
_BEAT: Final = b"""
INSERT INTO heartbeats VALUES (%s, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint)
ON CONFLICT (name) DO UPDATE SET at_ns = excluded.at_ns
"""


class PostgresHeartbeat:
    """See `state.base.marks.Heartbeat`. The time is the database's, which all machines share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self) -> None:
        """See `Heartbeat.beat`."""
        with self._database.transaction() as connection:
            connection.execute(b"SET LOCAL synchronous_commit = off")
            connection.execute(_BEAT, (_NAME,))

    def last_ns(self) -> int | None:
        """See `Heartbeat.last_ns`."""
        try:
            rows = self._database.read("SELECT at_ns FROM heartbeats WHERE name = %s", (_NAME,))
        except StorageFailed:
            return None
        return rows[0][0] if rows else None


class PostgresMemo:
    """See `state.base.marks.Memo`; `name` tells one from another."""

    def __init__(self, database: Database, name: str) -> None:
        self._document = Document(database, f"memo {name}")

    def read(self) -> Any:
        """See `Memo.read`."""
        try:
            text = self._document.read()
            return None if text is None else i_json.loads(text.encode())
        except (StorageFailed, ValueError):
            return None

    def write(self, value: Any) -> None:
        """See `Memo.write`."""
        self._document.write(json.dumps(value))

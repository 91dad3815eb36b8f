"""Notes about hosts, one row a host and kind (see `state.base.notes`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Generic, TypeVar

from cis490_receiver import i_json
from cis490_receiver.errors import StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.notes import Mute, Note, Retirement
from cis490_receiver.state.mutes import parse_mute
from cis490_receiver.state.retirements import parse_retirement

log = logging.getLogger(__name__)

N = TypeVar("N", bound=Note)


class _Notes(Generic[N]):
    def __init__(self, database: Database, kind: str, parse: Callable[[Mapping[str, Any]], N]) -> None:
        self._database = database
        self._kind = kind
        self._parse = parse

    def read(self) -> dict[str, N]:
        """The notes by host. Those that cannot be read hold nothing, and the log says so."""
        try:
            rows = self._database.read("SELECT host_id, note FROM notes WHERE kind = %s", (self._kind,))
        except StorageFailed as exc:
            log.warning(event("notes-damaged", file=self._kind, reason=exc.reason))
            return {}
        notes = {}
        for host_id, text in rows:
            try:
                notes[host_id] = self._parse(i_json.loads(text.encode()))
            except (ValueError, TypeError, AttributeError) as exc:
                log.warning(event("notes-damaged", file=self._kind, host=host_id, reason=exc))
        return notes

    def put(self, note: N) -> None:
        self._database.write(
            "INSERT INTO notes VALUES (%s, %s, %s) ON CONFLICT (kind, host_id) DO UPDATE SET note = excluded.note",
            (self._kind, note.host_id, json.dumps(asdict(note))),
        )

    def remove(self, host_id: str) -> bool:
        """Whether there was one."""
        rows = self._database.write_once(
            "DELETE FROM notes WHERE kind = %s AND host_id = %s RETURNING true", (self._kind, host_id)
        )
        return bool(rows)


class PostgresMutes:
    """See `state.base.notes.Mutes`."""

    def __init__(self, database: Database) -> None:
        self._notes = _Notes(database, "mute", parse_mute)

    def active(self, now_ns: int) -> dict[str, Mute]:
        """See `Mutes.active`."""
        return {host_id: mute for host_id, mute in self._notes.read().items() if mute.until_ns > now_ns}

    def set(self, mute: Mute, now_ns: int) -> None:
        """See `Mutes.set`."""
        self._notes.put(mute)

    def end(self, host_id: str, now_ns: int) -> bool:
        """See `Mutes.end`."""
        was = host_id in self.active(now_ns)
        return self._notes.remove(host_id) and was


class PostgresRetirements:
    """See `state.base.notes.Retirements`."""

    def __init__(self, database: Database) -> None:
        self._notes = _Notes(database, "retirement", parse_retirement)

    def all(self) -> dict[str, Retirement]:
        """See `Retirements.all`."""
        return self._notes.read()

    def set(self, retirement: Retirement) -> None:
        """See `Retirements.set`."""
        self._notes.put(retirement)

    def end(self, host_id: str) -> None:
        """See `Retirements.end`."""
        self._notes.remove(host_id)

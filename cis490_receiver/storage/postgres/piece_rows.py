"""The pieces of uploads as rows, and each step of an upload's holder, which fails when another one has it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cis490_receiver.errors import UploadLocked
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.pool import Database
from cis490_receiver.storage import partial_lines
from cis490_receiver.storage.base.partials import Verdict

_MINE: Final = "upload_id = %(upload_id)s AND holder = %(holder)s"
_NOTE: Final = f"""
INSERT INTO pieces (object_key, upload_id, starts_at, size_bytes)
SELECT %(object_key)s, upload_id, %(start)s, %(size)s FROM resumables WHERE {_MINE} AND verdict IS NULL FOR KEY SHARE
ON CONFLICT (object_key) DO UPDATE SET size_bytes = excluded.size_bytes
RETURNING object_key
"""
#: Where it is there already, its answer was lost, and it is done over.
_MOVE: Final = f"""
UPDATE resumables SET reached = %(end)s, touched_ns = %(now_ns)s, is_wanted = false
WHERE {_MINE} AND verdict IS NULL AND reached IN (%(start)s, %(end)s)
"""
_COUNT: Final = """
UPDATE pieces SET is_counted = true WHERE object_key = ANY(%(object_keys)s) AND upload_id = %(upload_id)s
"""
_END: Final = f"""
UPDATE resumables SET verdict = %(verdict)s, ended_ns = %(at_ns)s, touched_ns = %(at_ns)s
WHERE {_MINE} AND (verdict IS NULL OR verdict = %(verdict)s)
"""
_DROP_COUNTED: Final = """
UPDATE pieces SET upload_id = NULL WHERE upload_id = %(upload_id)s AND is_counted RETURNING object_key
"""
#: The rows at a time that are looked at by who collects.
_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """An object with bytes of an upload: `size_bytes` of them, the first of which is the upload's byte `start`."""

    object_key: str
    start: int
    size_bytes: int


class HeldRows:
    """The rows of one upload, for who has it. Errors are those of `Database`, and

    Raises:
        UploadLocked: another one has it by now, or it has ended; nothing was changed.
    """

    def __init__(self, database: Database, upload_id: str, holder: uuid.UUID) -> None:
        self._database = database
        self._mine = {"upload_id": upload_id, "holder": holder}

    def note(self, piece: StoredPiece) -> None:
        """Note that the object of `piece` is about to be written."""
        values = {"object_key": piece.object_key, "start": piece.start, "size": piece.size_bytes}
        if not self._database.write(_NOTE, self._mine | values):
            raise UploadLocked

    def count(self, pieces: Sequence[StoredPiece], *, start: int, end: int, now_ns: int) -> None:
        """Move the offset from `start` to `end` by `pieces`, which are stored."""
        values = self._mine | {"start": start, "end": end, "now_ns": now_ns}
        object_keys = [piece.object_key for piece in pieces]

        def do(connection: Connection) -> None:
            moved = connection.execute(_MOVE.encode(), values).rowcount
            # One that nobody counted for longer than anybody's patience is gone.
            counted = connection.execute(_COUNT.encode(), self._mine | {"object_keys": object_keys}).rowcount
            if (moved, counted) != (1, len(pieces)):
                raise UploadLocked

        self._database.repeat(do)

    def counted(self) -> list[StoredPiece]:
        """The pieces up to the offset, in their order."""
        rows = self._database.read(
            "SELECT object_key, starts_at, size_bytes FROM pieces"
            " WHERE upload_id = %(upload_id)s AND is_counted ORDER BY starts_at",
            self._mine,
        )
        return [StoredPiece(*row) for row in rows]

    def is_wanted(self) -> bool:
        """Whether another one asked for it."""
        return bool(
            self._database.read(f"SELECT true FROM resumables WHERE {_MINE} AND is_wanted", self._mine)
        )

    def put_together_in(self, object_key: str) -> None:
        """Note the object that the episode may become, before its first byte."""
        self._set("whole_key = %(value)s", object_key)

    def lose(self) -> None:
        """Note that bytes of it are gone."""
        self._set("is_lost = %(value)s", True)

    def check(self) -> None:
        """See that it is still this holder's."""
        if not self._database.read(
            f"SELECT true FROM resumables WHERE {_MINE} AND verdict IS NULL", self._mine
        ):
            raise UploadLocked

    def end(self, verdict: Verdict) -> list[str]:
        """Note how it ended; gives the objects that are garbage by that."""
        line = partial_lines.verdict_line(verdict).decode()
        values = self._mine | {"verdict": line, "at_ns": verdict.at_ns}

        def do(connection: Connection) -> list[str]:
            if connection.execute(_END.encode(), values).rowcount != 1:
                raise UploadLocked
            return [row[0] for row in connection.execute(_DROP_COUNTED.encode(), self._mine)]

        return self._database.repeat(do)

    def drop(self, pieces: Sequence[StoredPiece]) -> list[str]:
        """Make garbage of those that are not counted; gives their objects. Whoever has the upload."""
        rows = self._database.write(
            "UPDATE pieces SET upload_id = NULL WHERE object_key = ANY(%s) AND NOT is_counted RETURNING object_key",
            ([piece.object_key for piece in pieces],),
        )
        return [object_key for (object_key,) in rows]

    def forget(self, object_keys: Sequence[str]) -> None:
        """See `Noted.forget`."""
        _forget(self._database, object_keys)

    def _set(self, change: str, value: object) -> None:
        sql = f"UPDATE resumables SET {change} WHERE {_MINE} AND verdict IS NULL RETURNING upload_id"
        if not self._database.write(sql, self._mine | {"value": value}):
            raise UploadLocked


class PieceRows:
    """See `storage.base.placements.Noted`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def garbage(self, *, older_than_seconds: float) -> Iterator[str]:
        """See `Noted.garbage`."""
        self._database.write(
            "UPDATE pieces SET upload_id = NULL WHERE upload_id IS NOT NULL AND NOT is_counted"
            " AND noted_at < clock_timestamp() - make_interval(secs => %s)",
            (older_than_seconds,),
        )
        last = ""
        while rows := self._database.read(
            "SELECT object_key FROM pieces WHERE upload_id IS NULL AND object_key > %s"
            " AND noted_at < clock_timestamp() - make_interval(secs => %s) ORDER BY object_key LIMIT %s",
            (last, older_than_seconds, _CHUNK),
        ):
            yield from (object_key for (object_key,) in rows)
            last = rows[-1][0]

    def forget(self, object_keys: Sequence[str]) -> None:
        """See `Noted.forget`."""
        _forget(self._database, object_keys)


def _forget(database: Database, object_keys: Sequence[str]) -> None:
    database.write(
        "DELETE FROM pieces WHERE object_key = ANY(%s) AND upload_id IS NULL", (list(object_keys),)
    )

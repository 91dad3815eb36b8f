"""Uploads in pieces as rows: what each was made with, how far it is, how it ended, and who has it for itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver.errors import UploadLocked
from cis490_receiver.postgres.pool import Database
from cis490_receiver.storage import partial_lines
from cis490_receiver.storage.base.partials import PartialUpload

_STATE: Final = "SELECT upload_id, announced, reached, touched_ns, verdict FROM resumables"
#: A lease that lasts longer than any does is by the clock of a server that this one took the place of.
_TAKE: Final = """
UPDATE resumables
SET holder = %(holder)s, held_until = clock_timestamp() + make_interval(secs => %(lease)s), is_wanted = false
WHERE upload_id = %(upload_id)s AND verdict IS NULL AND (
    holder IS NULL OR holder = %(holder)s
    OR held_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %(lease)s)
)
RETURNING upload_id, announced, reached, touched_ns, verdict, whole_key, is_lost
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """An upload that was taken.

    Attributes:
        state: how it is.
        whole_key: the object that its pieces were put together in last, by whoever did; None where nobody began to.
        is_lost: whether a piece of it was found to be gone.
    """

    state: PartialUpload
    whole_key: str | None
    is_lost: bool


class UploadRows:
    """The rows of all uploads. Errors are those of `Database`; what is written is on stable storage then."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        """`lease_seconds`: for how long an upload is its holder's after each time that this was said."""
        self._database = database
        self._lease_seconds = lease_seconds

    def add(self, state: PartialUpload) -> None:
        """Add one that was just made."""
        announced, verdict = state.announced, state.verdict
        self._database.write(
            "INSERT INTO resumables (upload_id, announced, size_bytes, touched_ns, verdict, ended_ns)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                state.upload_id,
                partial_lines.first_line(announced).decode(),
                announced.size_bytes,
                state.touched_ns,
                None if verdict is None else partial_lines.verdict_line(verdict).decode(),
                None if verdict is None else verdict.at_ns,
            ),
        )

    def find(self, upload_id: str) -> PartialUpload | None:
        """One of them; None when it is not there."""
        rows = self._database.read(f"{_STATE} WHERE upload_id = %s", (upload_id,))
        return _state_of(*rows[0]) if rows else None

    def waiting(self) -> Sequence[PartialUpload]:
        """Those that have not ended."""
        states = (_state_of(*row) for row in self._database.read(f"{_STATE} WHERE verdict IS NULL"))
        return [state for state in states if state is not None]

    def missing_bytes(self) -> int:
        """How many bytes are still to come of those."""
        [(total,)] = self._database.read(
            "SELECT coalesce(sum(size_bytes - reached), 0)::bigint FROM resumables WHERE verdict IS NULL"
        )
        return int(total)

    def take(self, upload_id: str, holder: uuid.UUID) -> Taken | None:
        """Let `holder` have an upload that nobody has; None when it is not there, or has ended.

        Raises:
            UploadLocked: another one has it.
        """
        values = {"upload_id": upload_id, "holder": holder, "lease": self._lease_seconds}
        rows = self._database.write(_TAKE, values)
        if not rows:
            state = self.find(upload_id)
            if state is None or state.verdict is not None:
                return None
            raise UploadLocked
        *kept, whole_key, is_lost = rows[0]
        state = _state_of(*kept)
        return None if state is None else Taken(state, whole_key, is_lost)

    def renew(self, uploads: Mapping[uuid.UUID, str]) -> None:
        """Let holders go on to have their uploads."""
        self._database.write(
            "UPDATE resumables SET held_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE upload_id = ANY(%s) AND holder = ANY(%s) AND verdict IS NULL",
            (self._lease_seconds, list(uploads.values()), list(uploads)),
        )

    def let_go(self, upload_id: str, holder: uuid.UUID) -> None:
        """Let the next one have it, unless it is another one's already."""
        self._database.write(
            "UPDATE resumables SET holder = NULL WHERE upload_id = %s AND holder = %s", (upload_id, holder)
        )

    def want(self, upload_id: str) -> None:
        """Tell whoever has it."""
        self._database.write(
            "UPDATE resumables SET is_wanted = true"
            " WHERE upload_id = %s AND holder IS NOT NULL AND verdict IS NULL AND NOT is_wanted",
            (upload_id,),
        )

    def forget(self, upload_id: str) -> None:
        """Forget one; its pieces are garbage from then on."""
        self._database.write("DELETE FROM resumables WHERE upload_id = %s", (upload_id,))

    def forget_before(self, ns: int) -> None:
        """Forget those that ended before `ns`."""
        self._database.write("DELETE FROM resumables WHERE verdict IS NOT NULL AND ended_ns < %s", (ns,))


def _state_of(
    upload_id: str, announced: str, reached: int, touched_ns: int, verdict: Any
) -> PartialUpload | None:
    """None where the row was written by another version, and is not to be understood."""
    made = partial_lines.announced_of(announced.encode())
    if made is None:
        return None
    state = PartialUpload(upload_id, made, reached, touched_ns, None)
    return state if verdict is None else partial_lines.later(state, verdict.encode())

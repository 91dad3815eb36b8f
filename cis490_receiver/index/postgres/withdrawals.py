"""What is not to be trained on, in rows that are never changed; one order over all machines."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from cis490_receiver.errors import DatabaseUnavailable, StorageFailed, StorageFull
from cis490_receiver.logfmt import event
from cis490_receiver.postgres.pool import Database
from cis490_receiver.withdrawal import Withdrawal

log = logging.getLogger(__name__)

_BATCH: Final = 1000
_END: Final = (
    b"SELECT coalesce((SELECT line_offset + octet_length(line) FROM withdrawals"
    b" ORDER BY number DESC LIMIT 1), 0)"
)
_INSERT: Final = (
    b"INSERT INTO withdrawals (batch, place, line, line_offset) VALUES (%s, %s, %s, %s)"
    b" ON CONFLICT (batch, place) DO NOTHING"
)


class PostgresWithdrawals:
    """See `index.base.WithdrawalLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, items: Sequence[Withdrawal]) -> None:
        """See `WithdrawalLog.append`. Where the database breaks off, they are said again under the same numbers, which
        says nothing twice; when it does so again, it is not known whether they are there."""
        batch = uuid.uuid4()
        try:
            try:
                self._append(batch, items)
            except DatabaseUnavailable:
                self._append(batch, items)
        except (StorageFailed, StorageFull) as exc:
            log.error(event(exc.code, doing="withdraw", file="database", reason=exc.reason))
            raise

    def _append(self, batch: uuid.UUID, items: Sequence[Withdrawal]) -> None:
        with self._database.transaction() as connection:
            # Whoever counts this holds it until the commit, so that numbers have the order of the commits. It is a
            # write, so that a commit of no items too vouches for what was seen before.
            connection.execute(b"UPDATE turns SET taken = taken + 1 WHERE name = 'withdrawals'")
            [(end,)] = connection.execute(_END).fetchall()
            lines = [item.to_line().decode("ascii") for item in items]
            starts = itertools.accumulate(map(len, lines), initial=end)
            with connection.cursor() as cursor:
                cursor.executemany(
                    _INSERT,
                    [
                        (batch, place, line, start)
                        for place, (line, start) in enumerate(zip(lines, starts, strict=False))
                    ],
                )

    def items(self) -> Iterator[Withdrawal]:
        """See `WithdrawalLog.items`."""
        after = 0
        while rows := self._database.read(
            "SELECT number, line FROM withdrawals WHERE number > %s ORDER BY number LIMIT %s", (after, _BATCH)
        ):
            for _, line in rows:
                try:
                    yield Withdrawal.from_line(line.encode())
                except ValueError as exc:
                    log.warning(event("withdrawal-bad-line", reason=exc, line=line[:80]))
            after = rows[-1][0]

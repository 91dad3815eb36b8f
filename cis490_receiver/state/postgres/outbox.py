"""Up to which alert people were told, over all machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.alerts import Alert
from cis490_receiver.state.postgres.alerts import parsed

_SENT: Final = "alerts-sent"
#: Longer than sending takes.
_SENDING: Final = b"SELECT set_config('idle_in_transaction_session_timeout', '15min', true)"


class PostgresOutbox:
    """See `state.base.alerts.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sent = Document(database, _SENT)

    def deliver(self, send: Callable[[Sequence[Alert]], bool], *, after_ns: int) -> bool:
        """See `Outbox.deliver`. The row that is locked meanwhile is let go when this process, its machine or its
        connection dies."""
        with self._database.transaction() as connection:
            connection.execute(_SENDING)
            turn = connection.execute(b"SELECT true FROM turns WHERE name = 'outbox' FOR UPDATE SKIP LOCKED")
            if turn.fetchone() is None:
                return True
            alerts, end = _unsent(connection, self._sent.read(), after_ns)
            if end is None:
                return True
            # A row may be seen before a standby has it; a commit that comes after it vouches for it.
            self._database.write("UPDATE turns SET taken = taken + 1 WHERE name = 'sync'")
            if alerts and not send(alerts):
                return False
            self._sent.write(str(end))
        return True


def _unsent(connection: Connection, sent: str | None, after_ns: int) -> tuple[list[Alert], int | None]:
    """The alerts that were not sent, and the number of the last of all; None when there is nothing new."""
    number = int(sent) if sent else 0
    rows = connection.execute(
        b"SELECT number, at_ns, line FROM alerts WHERE number > %s ORDER BY number", (number,)
    ).fetchall()
    if not rows:
        # That nothing was there is known from now on.
        return [], None if sent else 0
    return list(parsed(row for row in rows if sent or row[1] > after_ns)), rows[-1][0]

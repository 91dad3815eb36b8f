"""Locks over all machines, each held by a connection of its own and let go when that ends, however it does.

A machine that dies is noticed within about half a minute (see `pool`). A holder whose connection was lost may not be
alone any more: what it writes by way of the lock fails from then on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

import psycopg

from cis490_receiver.postgres.commits import Connection, commit
from cis490_receiver.postgres.failures import database_failures
from cis490_receiver.postgres.pool import Database

#: For each schema of a database locks of its own.
_TRY: Final = (
    b"SELECT pg_try_advisory_lock(hashtextextended('cis490-receiver ' || %s || current_schema(), 0))"
)


class Lock:
    """A lock that is held."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, sql: str, values: Sequence[object]) -> None:
        """Do it as one transaction, which is not made when the lock was lost. Errors are those of `Database`."""
        with database_failures():
            try:
                self._connection.execute(sql.encode(), values)
                commit(self._connection)
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    self._connection.rollback()
                raise


@contextlib.contextmanager
def lock_or_none(database: Database, name: str) -> Iterator[Lock | None]:
    """The lock `name` for this block; None at once when another has it. Errors are those of `Database`."""
    with contextlib.ExitStack() as held:
        with database_failures():
            connection = held.enter_context(contextlib.closing(database.connect()))
            [(alone,)] = connection.execute(_TRY, (name,)).fetchall()
            connection.commit()
        yield Lock(connection) if alone else None

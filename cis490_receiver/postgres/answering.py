"""A connection whose server answers in time, or that is closed.

The server bounds its statements by itself (``statement_timeout``), and the kernel notices a machine that is gone. A
server that stands still, its machine going on, would be waited for without end: libpq has no limit for that.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg_pool import ConnectionPool

V = TypeVar("V")

#: How long one answer may take, in seconds: longer than the server lets a statement run, and than a commit may take.
ANSWER_SECONDS: Final = 40.0
#: How long the answer to whether a connection is alive may take.
CHECK_SECONDS: Final = 3.0
#: How often psycopg looks for a signal meanwhile, in seconds; its own figure.
_LOOK_SECONDS: Final = 0.1


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time. Whether it does what it was asked for is not known."""


class AnsweringConnection(psycopg.Connection[tuple[Any, ...]]):
    """What takes longer than `answer_seconds` raises NoAnswerError, and the connection is closed."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[V], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> V:
        """See `psycopg.Connection.wait`, which all that asks the server comes by."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.errors._WaitTimeout as exc:
            # What it answers later would be taken for the answer to something else.
            self.pgconn.finish()
            raise NoAnswerError(f"the server did not answer within {self.answer_seconds:g} s") from exc


def check(connection: AnsweringConnection) -> None:
    """Raises:
    psycopg.Error: the connection is of no use.
    """
    connection.answer_seconds = CHECK_SECONDS
    try:
        ConnectionPool.check_connection(connection)
    finally:
        del connection.answer_seconds

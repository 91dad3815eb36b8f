"""Connections to PostgreSQL: few, lent for a transaction, and bounded in time whatever the server or the network does.

Those for reading are others than those for writing, so that commits that wait for a standby keep nobody from reading.

A connection that was lost is found before it is lent, and another one made, to whichever of the servers is the primary.
What was under way on it is tried once more where that cannot do anything twice: reads, and writes that may be repeated.
Of a database that stays away only the first requests wait (`postgres.outage`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from cis490_receiver.errors import DatabaseUnavailable
from cis490_receiver.postgres.answering import AnsweringConnection, check
from cis490_receiver.postgres.commits import COMMIT_SECONDS, Connection, commit
from cis490_receiver.postgres.failures import database_failures
from cis490_receiver.postgres.hosts import Hosts
from cis490_receiver.postgres.outage import Outage

T = TypeVar("T")

Row = tuple[Any, ...]
#: For ``%s``, or for ``%(name)s``.
Values = Sequence[object] | Mapping[str, object]

#: How many connections one process has at most for writing, and for reading, and how many threads may wait for one.
MAX_CONNECTIONS: Final = 8
MAX_READING: Final = 4
MAX_WAITING: Final = 256
#: How long to wait for a connection that can be used, in seconds.
PATIENCE_SECONDS: Final = 5.0
#: What names of processes begin with, as ``pg_stat_activity`` shows them.
PROGRAM: Final = "cis490-receiver"
#: For how long a server that refuses is tried before it counts as away, in seconds.
_TRYING_SECONDS: Final = 0.5
#: See libpq, *Parameter Key Words*: a peer that is gone without a word is noticed within about 30 s, and one of several
#: that does not answer leaves a request time to find another.
_CONNECTING: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "read-write",
}
#: See PostgreSQL's documentation, *Client Connection Defaults* and *Connections and Authentication*.
_SESSION: Final = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "30s",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Database:
    """A database of PostgreSQL, named by a URL or by libpq's ``key=value`` words. Threads may share it; a child process
    makes connections of its own.

    What is asked of it raises `DatabaseUnavailable` when there is no answer in time, `StorageFull` when its disk is
    full, and `StorageFailed` when it refuses.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = MAX_CONNECTIONS,
        patience_seconds: float = PATIENCE_SECONDS,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._hosts = Hosts(url)
        self._connections = connections
        self._patience_seconds = patience_seconds
        self._commit_seconds = commit_seconds
        self._lock = threading.Lock()
        #: By process: what a parent opened is its own, and is not closed here.
        self._lenders: dict[int, _Lender] = {}

    def read(self, sql: str, values: Values = ()) -> list[Row]:
        """The rows of one query. A lost connection is replaced, and the query asked again."""
        return self._again(lambda: self._ask(sql, values, reading=True))

    def write(self, sql: str, values: Values = ()) -> list[Row]:
        """Do what may be done twice, as one transaction; gives its RETURNING. Once this returns it is on stable
        storage."""
        return self._again(lambda: self._ask(sql, values))

    def repeat(
        self, do: Callable[[Connection], T], *, commit_seconds: float | None = None, reading: bool = False
    ) -> T:
        """What `do` gives for a connection, in one transaction, where it may be done twice. What it raises undoes it.
        Once this returns it is on stable storage. `commit_seconds`: how long its commit may take, if not the usual.
        `reading`: on a connection of those for reading, which are few."""

        def once() -> T:
            with self.transaction(commit_seconds, reading=reading) as connection:
                return do(connection)

        return self._again(once)

    def write_once(self, sql: str, values: Values = ()) -> list[Row]:
        """The same for what must not be done twice: after an error it is not known whether it was done."""
        return self._ask(sql, values)

    @contextlib.contextmanager
    def transaction(
        self, commit_seconds: float | None = None, *, reading: bool = False
    ) -> Iterator[Connection]:
        """A connection for one transaction, which is committed when the block ends, and on stable storage then; what
        the block raises undoes it. When the commit itself fails it is not known whether it was made."""
        with database_failures(), self._lender().lend(reading=reading) as connection:
            yield connection
            commit(connection, self._commit_seconds if commit_seconds is None else commit_seconds)

    def connect(self) -> Connection:
        """A connection that is the caller's alone, and closed by the caller.

        Raises:
            psycopg.Error: there is none to be had.
        """
        return _connect(self._hosts)

    def close(self) -> None:
        """Close this process's connections; the next call makes others."""
        with self._lock:
            lender = self._lenders.pop(os.getpid(), None)
        if lender is not None:
            lender.close()

    def _ask(self, sql: str, values: Values, *, reading: bool = False) -> list[Row]:
        with self.transaction(reading=reading) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def _again(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except DatabaseUnavailable as exc:
            if not _is_lost(exc.__cause__):
                raise
            return ask()

    def _lender(self) -> _Lender:
        process = os.getpid()
        with self._lock:
            if process not in self._lenders:
                self._lenders[process] = _Lender(self._hosts, self._connections, self._patience_seconds)
            return self._lenders[process]


class _Lender:
    """The connections of one process."""

    def __init__(self, hosts: Hosts, connections: int, patience_seconds: float) -> None:
        self._hosts = hosts
        # It tells of every try in several lines; `Outage` tells once.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        self._patience_seconds = patience_seconds
        # One for all: whoever finds the database away spares the others that.
        self._outage = Outage(lambda: _connect(hosts).close(), patience_seconds, self._grow)
        self._writing, self._reading = self._pool(connections), self._pool(min(connections, MAX_READING))

    def _pool(self, connections: int) -> ConnectionPool[AnsweringConnection]:
        return ConnectionPool(
            self._hosts.conninfo,
            connection_class=AnsweringConnection,
            kwargs=_connecting(),
            min_size=0,
            max_size=connections,
            max_waiting=MAX_WAITING,
            timeout=self._patience_seconds,
            reconnect_timeout=min(_TRYING_SECONDS, self._patience_seconds),
            reconnect_failed=lambda _pool: self._outage.begin(),
            configure=self._found,
            check=check,
            open=True,
            num_workers=1,
        )

    @contextlib.contextmanager
    def lend(self, *, reading: bool) -> Iterator[Connection]:
        """A connection for one transaction.

        Raises:
            psycopg.Error: there is none.
        """
        self._outage.wait()
        pool = self._reading if reading else self._writing
        try:
            connection = pool.getconn()
        except PoolTimeout:
            # Others may have them all, or have none that answers.
            self._outage.begin()
            raise
        try:
            with connection:
                yield connection
        finally:
            pool.putconn(connection)

    def close(self) -> None:
        """Close them."""
        self._outage.close()
        for pool in (self._writing, self._reading):
            pool.close()

    def _found(self, connection: AnsweringConnection) -> None:
        _configure(connection)
        self._hosts.found(connection)

    def _grow(self) -> None:
        """A pool gave up making connections, and whoever waits for one would wait until another one asks."""
        for pool in (self._reading, self._writing):
            with contextlib.suppress(psycopg.Error), pool.connection():
                pass


def name_of_process() -> str:
    """What this process is called in ``pg_stat_activity``, where 63 bytes are shown."""
    return f"{PROGRAM} {os.getpid()}@{socket.gethostname()}"[:63]


def _connecting() -> dict[str, Any]:
    return {**_CONNECTING, "application_name": name_of_process()}


def _connect(hosts: Hosts) -> AnsweringConnection:
    connection = AnsweringConnection.connect(hosts.conninfo(), **_connecting())
    try:
        _configure(connection)
    except BaseException:
        connection.close()
        raise
    hosts.found(connection)
    return connection


def _configure(connection: AnsweringConnection) -> None:
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items())
    connection.execute(f"SELECT {settings}".encode())
    connection.commit()


def write_something(connection: Connection) -> None:
    """Make the transaction one that writes, so that its commit is waited for as any other: once it is committed, all
    that could be seen before is as safe as it is. A record of the write-ahead log, and no row that others wait for
    (PostgreSQL, *Generic WAL and logical messages*, ``pg_logical_emit_message``)."""
    connection.execute(b"SELECT pg_logical_emit_message(true, 'cis490-receiver', '')")


def _is_lost(cause: BaseException | None) -> bool:
    """Whether a connection broke under a statement, and not that the server refused or was not to be reached."""
    lost = psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown
    return isinstance(cause, lost) or type(cause) is psycopg.OperationalError

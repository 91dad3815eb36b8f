"""The tables, made by numbered migrations, and what a server must be like before anything is entrusted to it.

``migrations/NNNN_name.sql`` is applied once, in the order of the numbers, each as one transaction. One that was
published is never changed; what comes after it is another one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import psycopg

from cis490_receiver.errors import ConfigError
from cis490_receiver.postgres.failures import reason_of
from cis490_receiver.postgres.grants import grant

OLDEST_SERVER: Final = 15
_WAIT_SECONDS: Final = 60
#: For each schema of a database a lock of its own.
_LOCK: Final = b"SELECT pg_advisory_lock(hashtextextended('cis490-receiver ' || current_schema(), 0))"
_TABLE: Final = b"""
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """A step of the schema, and its SQL."""

    number: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """All steps, in their order."""
    found = []
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            found.append(Migration(int(number), name, file.read_text(encoding="ascii")))
    return tuple(sorted(found, key=lambda step: step.number))


def newest() -> int:
    """The schema that this receiver works with."""
    return migrations()[-1].number


def migrate(url: str, role: str | None = None) -> list[Migration]:
    """Bring the schema up to `newest`; gives the steps that were missing. Of several at once one works. `role` is then
    given what a receiver needs, and no more.

    Raises:
        ConfigError: the database cannot be used, or its schema is newer, or there is no such role.
    """
    with _connected(url) as connection:
        check_server(connection)
        connection.execute(b"SELECT set_config('lock_timeout', '%ds', false)" % _WAIT_SECONDS)
        connection.execute(_LOCK)
        connection.execute(_TABLE)
        _refuse_newer(_applied(connection))
        missing = [step for step in migrations() if step.number > _applied(connection)]
        for step in missing:
            with connection.transaction():
                connection.execute(step.sql.encode())
                connection.execute(
                    b"INSERT INTO schema_migrations (number, name) VALUES (%s, %s)", (step.number, step.name)
                )
        if role is not None:
            grant(connection, role)
        return missing


def check(url: str) -> str | None:
    """See whether this version can work with the database.

    Returns:
        Why the index takes nothing, in the words of who closed it; None when it is open.

    Raises:
        ConfigError: its schema is older or newer, or what it says is stored would not be; or it cannot be reached.
    """
    with _connected(url) as connection:
        check_server(connection)
        applied = _applied(connection)
        closed_for = _closed_for(connection) if applied == newest() else None
    _refuse_newer(applied)
    if applied < newest():
        raise ConfigError(
            f"database_url: the database has schema {applied}, and this receiver needs {newest()}; run: "
            "cis490-receiver migrate-schema"
        )
    return closed_for


def check_server(connection: psycopg.Connection[Any]) -> None:
    """Raises:
    ConfigError: a commit on this server, by this role, may be lost.
    """
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise ConfigError(
            f"database_url: the server is PostgreSQL {version}; {OLDEST_SERVER} is the oldest that will do"
        )
    row = connection.execute(
        b"SELECT current_setting('fsync'), current_setting('full_page_writes'),"
        b" current_setting('synchronous_commit'), current_user"
    ).fetchone()
    assert row is not None
    fsync, full_pages, commits, role = row
    for name, value in (("fsync", fsync), ("full_page_writes", full_pages)):
        if value != "on":
            raise ConfigError(
                f"database_url: the server has {name} = {value}, and would lose what it said is stored; set {name} = "
                "on in postgresql.conf and reload it"
            )
    if commits not in ("on", "remote_apply"):
        raise ConfigError(
            f"database_url: synchronous_commit is {commits} for {role}, who would be told of commits before they are "
            f'safe; set it to on in postgresql.conf, and run: ALTER ROLE "{role}" RESET synchronous_commit'
        )


def _applied(connection: psycopg.Connection[Any]) -> int:
    """The schema that is there; 0 is none."""
    row = connection.execute(b"SELECT to_regclass('schema_migrations')").fetchone()
    if row is None or row[0] is None:
        return 0
    row = connection.execute(b"SELECT coalesce(max(number), 0) FROM schema_migrations").fetchone()
    return int(row[0]) if row else 0


def _closed_for(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute(b"SELECT closed_for FROM journal_head").fetchone()
    return None if row is None else row[0]


def _refuse_newer(applied: int) -> None:
    if applied > newest():
        raise ConfigError(
            f"database_url: the database has schema {applied}, and this receiver knows {newest()}; install the version "
            "of cis490-receiver that the others run"
        )


@contextlib.contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(
            url, autocommit=True, connect_timeout=10, target_session_attrs="read-write"
        ) as connection:
            yield connection
    except psycopg.Error as exc:
        error = ConfigError(
            f"database_url: the database cannot be used: {reason_of(exc)}; see that the server runs, and that the "
            "URL names a database and a role which may use it"
        )
        error.may_pass = isinstance(exc, psycopg.OperationalError)
        raise error from exc

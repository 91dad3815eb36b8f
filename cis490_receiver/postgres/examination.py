"""What a database says of itself, for who has to judge whether commits on it are safe."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import psycopg

from cis490_receiver.postgres.grants import PRIVILEGES

#: Such as no receiver changes.
_ONLY_GROW = ("episodes", "journal", "releases", "withdrawals")


@dataclass(frozen=True, slots=True)
class Standby:
    """A server that follows this one: its name, and ``sync``, ``quorum``, ``potential`` or ``async``."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Examined:
    """Attributes:
    standbys: those that are connected; None where this role may not see them.
    can_drop: whether the role could drop tables; can_delete: those of tables that only grow from which it could delete.
    clock_ahead_seconds: how far the database's clock is ahead of this machine's.
    commit_seconds: how long a small commit took, the median of some; None where it might never end, as no standby that
        it has to wait for is seen.
    """

    @property
    def standby_names(self) -> str:
        """Those that commits wait for, as the server has it."""
        return self.settings.get("synchronous_standby_names", "")

    @property
    def good_standbys(self) -> list[str]:
        """Those that commits wait for and that are there."""
        return [one.name for one in self.standbys or () if one.state in ("sync", "quorum")]

    version: str
    role: str
    is_superuser: bool
    settings: dict[str, str]
    standbys: list[Standby] | None
    can_drop: bool
    can_delete: list[str]
    size_bytes: int
    clock_ahead_seconds: float
    commit_seconds: float | None


_SETTINGS = (
    b"SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit',"
    b" 'synchronous_standby_names', 'max_connections', 'wal_level')"
)
_COMMITS = 5


def examine(url: str) -> Examined:
    """Look at the database that receivers with this `url` use.

    Raises:
        psycopg.Error: it cannot be reached, or does not tell.
    """
    with psycopg.connect(
        url, autocommit=True, connect_timeout=10, target_session_attrs="read-write"
    ) as connection:
        connection.execute(b"SELECT set_config('statement_timeout', '20s', false)")
        [(version, role, is_superuser, sees, size_bytes)] = connection.execute(
            b"SELECT current_setting('server_version'), current_user, rolsuper,"
            b" rolsuper OR pg_has_role(current_user, 'pg_monitor', 'MEMBER'), pg_database_size(current_database())"
            b" FROM pg_roles WHERE rolname = current_user"
        ).fetchall()
        before = time.time()
        [(told,)] = connection.execute(b"SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
        ahead = told - (before + time.time()) / 2
        examined = Examined(
            version=version,
            role=role,
            is_superuser=is_superuser,
            settings=dict(connection.execute(_SETTINGS).fetchall()),
            standbys=_standbys(connection) if sees else None,
            can_drop=_owns(connection),
            can_delete=[name for name in _ONLY_GROW if _may_delete(connection, name)],
            size_bytes=size_bytes,
            clock_ahead_seconds=ahead,
            commit_seconds=None,
        )
        if examined.standby_names and not examined.good_standbys:
            return examined
        return replace(examined, commit_seconds=_commit_seconds(connection))


def _standbys(connection: psycopg.Connection[tuple[object, ...]]) -> list[Standby]:
    rows = connection.execute(b"SELECT application_name, sync_state FROM pg_stat_replication ORDER BY 1")
    return [Standby(str(name), str(state)) for name, state in rows]


def _owns(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = connection.execute(
        b"SELECT coalesce(bool_or(pg_has_role(current_user, relowner, 'MEMBER')), false) FROM pg_class"
        b" WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)",
        (list(PRIVILEGES),),
    ).fetchone()
    return bool(row and row[0])


def _may_delete(connection: psycopg.Connection[tuple[object, ...]], table: str) -> bool:
    row = connection.execute(b"SELECT has_table_privilege(%s, 'DELETE, TRUNCATE')", (table,)).fetchone()
    return bool(row and row[0])


def _commit_seconds(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    took = []
    for _ in range(_COMMITS):
        began = time.perf_counter()
        connection.execute(b"SELECT pg_logical_emit_message(true, 'cis490-receiver', '')")
        took.append(time.perf_counter() - began)
    return sorted(took)[_COMMITS // 2]

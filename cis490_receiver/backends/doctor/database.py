"""The database, by what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psycopg

from cis490_receiver.backends.doctor import Finding
from cis490_receiver.errors import ConfigError
from cis490_receiver.page import size
from cis490_receiver.postgres import schema
from cis490_receiver.postgres.examination import Examined, examine
from cis490_receiver.postgres.failures import reason_of
from cis490_receiver.postgres.pool import MAX_CONNECTIONS, MAX_READING

_CLOCK_SECONDS: Final = 60
#: What one worker of a receiver has beside: for refusals, and for locks.
_MORE_CONNECTIONS: Final = 6


def database_findings(url: str) -> Iterator[Finding]:
    """Everything, in turn; when the database cannot be used, that alone."""
    try:
        closed = schema.check(url)
    except ConfigError as exc:
        yield Finding("database", "refused", exc.message.removeprefix("database_url: "))
        return
    try:
        examined = examine(url)
    except psycopg.Error as exc:
        yield Finding("database", "unknown", f"could not be found out: {reason_of(exc)}")
        return
    yield Finding(
        "database",
        "ok",
        _what(examined),
    )
    if closed is not None:
        yield Finding(
            "database: in use",
            "refused",
            "the cluster is closed by `cis490-receiver migrate`",
            "a receiver that is started says what to run",
        )
    yield Finding(
        "database: commits",
        "ok",
        "fsync, full_page_writes and synchronous_commit are on: what is committed is safe",
    )
    yield _standbys(examined)
    yield _role(examined)
    yield _connections(examined)
    yield _clock(examined)
    if examined.commit_seconds is not None:
        yield Finding("database: speed", "ok", f"{examined.commit_seconds * 1000:.1f} ms for a commit")


def _what(examined: Examined) -> str:
    return f"PostgreSQL {examined.version}, a primary, schema {schema.newest()}, {size(examined.size_bytes)}"


def _standbys(examined: Examined) -> Finding:
    name = "database: standby"
    names = examined.standby_names
    if not names:
        return Finding(
            name,
            "weaker",
            "none is synchronous: what was acknowledged since the last backup is lost with this server's disk",
            "set synchronous_standby_names = 'ANY 1 (…)' and add a standby",
        )
    if examined.standbys is None:
        return Finding(
            name,
            "unknown",
            f"synchronous_standby_names is {names}; role {examined.role} may not see whether one is connected",
            f'as a superuser: GRANT pg_monitor TO "{examined.role}"',
        )
    if examined.good_standbys:
        return Finding(name, "ok", f"synchronous: {', '.join(examined.good_standbys)}")
    return Finding(
        name,
        "refused",
        f"none of {names} is connected: no commit ends, and every upload is answered 503",
        "start a standby, or set synchronous_standby_names = '' and reload until there is one",
    )


def _role(examined: Examined) -> Finding:
    name = "database: role"
    if not examined.is_superuser and not examined.can_drop and not examined.can_delete:
        says = f"{examined.role} can drop no table, and delete nothing that only grows"
        return Finding(name, "ok", says)
    can = "is a superuser" if examined.is_superuser else "owns the tables, and could drop them"
    if not examined.is_superuser and not examined.can_drop:
        can = f"could delete from {', '.join(examined.can_delete)}"
    return Finding(
        name,
        "weaker",
        f"{examined.role} {can}: whoever takes a receiver over could take away what was acknowledged",
        "run receivers as a role of their own: cis490-receiver migrate-schema --grant ROLE",
    )


def _connections(examined: Examined) -> Finding:
    most = int(examined.settings.get("max_connections", "100"))
    each = MAX_CONNECTIONS + MAX_READING + _MORE_CONNECTIONS
    says = f"max_connections is {most}, enough for {most // each} worker processes of receivers in all"
    if most // each >= 4:
        return Finding("database: connections", "ok", says)
    return Finding("database: connections", "weaker", says, "raise max_connections, or run fewer workers")


def _clock(examined: Examined) -> Finding:
    off = examined.clock_ahead_seconds
    if abs(off) < _CLOCK_SECONDS:
        return Finding("database: clock", "ok", f"within {max(1, round(abs(off)))} s of this machine's")
    says = f"{round(abs(off))} s {'ahead of' if off > 0 else 'behind'} this machine's; leases and ages go by it alone"
    return Finding("database: clock", "weaker", says, "set the clocks by NTP")

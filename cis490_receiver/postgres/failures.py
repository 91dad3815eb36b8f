"""What PostgreSQL's errors mean to those who ask for what is kept there."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import psycopg
from psycopg import errors as pg

from cis490_receiver.errors import DatabaseUnavailable, StorageFailed, StorageFull
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)


@contextlib.contextmanager
def database_failures() -> Iterator[None]:
    """Raises:
    DatabaseUnavailable: in place of an error of psycopg that may be over when it is tried again.
    StorageFull: the database's disk is full.
    StorageFailed: in place of any other.
    """
    try:
        yield
    except psycopg.Error as exc:
        kind = _kind_of(exc)
        log.error(event(kind.code, doing="database", reason=reason_of(exc)))
        raise kind from exc


def reason_of(exc: psycopg.Error) -> str:
    """What went wrong, in one line."""
    return " ".join((exc.diag.message_primary or str(exc) or type(exc).__name__).split())


def _kind_of(exc: psycopg.Error) -> type[StorageFailed] | type[StorageFull]:
    if isinstance(exc, pg.DiskFull):
        return StorageFull
    # A standby that was not promoted takes no writes.
    if isinstance(exc, psycopg.OperationalError | pg.ReadOnlySqlTransaction):
        return DatabaseUnavailable
    return StorageFailed

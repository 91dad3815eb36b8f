"""What the receivers' role may do: add to what is only ever added to, and never drop anything.

The role that makes the tables owns them and can do everything; receivers run as another one, so that whoever takes one
over cannot take away what was acknowledged.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from cis490_receiver.errors import ConfigError

_ALL: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
#: By table.
PRIVILEGES: Final = {
    "alerts": ("SELECT", "INSERT", "DELETE"),
    "documents": ("SELECT", "INSERT", "UPDATE"),
    "episodes": ("SELECT", "INSERT", "UPDATE"),
    "heartbeats": ("SELECT", "INSERT", "UPDATE"),
    "journal": ("SELECT", "INSERT"),
    "journal_head": ("SELECT", "UPDATE"),
    "lines_set_aside": ("SELECT", "INSERT"),
    "notes": _ALL,
    "past_reports": ("SELECT", "INSERT", "DELETE"),
    "pieces": _ALL,
    "raised": _ALL,
    "rejections": ("SELECT", "INSERT", "DELETE"),
    "releases": ("SELECT", "INSERT"),
    "releases_being_made": _ALL,
    "reports": ("SELECT", "INSERT", "UPDATE"),
    "resumables": _ALL,
    "schema_migrations": ("SELECT",),
    "set_aside": ("SELECT", "INSERT"),
    "sign_in_codes": ("SELECT", "INSERT", "DELETE"),
    "turns": ("SELECT", "UPDATE"),
    "uploading": _ALL,
    "vouched": ("SELECT", "UPDATE"),
    "withdrawals": ("SELECT", "INSERT"),
}
#: Numbers that receivers may take.
SEQUENCES: Final = ("journal_generations",)


def grant(connection: psycopg.Connection[Any], role: str) -> None:
    """Give `role` what a receiver needs, and take the rest away, in one transaction.

    Raises:
        ConfigError: there is no such role, or it can do everything anyway.
    """
    row = connection.execute(
        b"SELECT rolsuper OR pg_has_role(rolname, (SELECT relowner FROM pg_class"
        b" WHERE oid = 'schema_migrations'::regclass), 'MEMBER') FROM pg_roles WHERE rolname = %s",
        (role,),
    ).fetchone()
    if row is None:
        raise ConfigError(f'--grant: there is no role {role}; make it first: CREATE ROLE "{role}" LOGIN')
    if row[0]:
        raise ConfigError(
            f"--grant: {role} owns the tables or is a superuser, and can do everything; name the role that receivers "
            "run as"
        )
    name = sql.Identifier(role)
    with connection.transaction():
        [(schema,)] = connection.execute(b"SELECT current_schema()").fetchall()
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), name))
        for table, privileges in PRIVILEGES.items():
            target = sql.Identifier(table)
            connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(target, name))
            allowed = sql.SQL(", ").join(map(sql.SQL, privileges))
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(allowed, target, name))
        for sequence in SEQUENCES:
            connection.execute(
                sql.SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(sql.Identifier(sequence), name)
            )

"""Small texts under a name, each replaced as a whole and counted, so that a reader knows a new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cis490_receiver.postgres.pool import Database

#: Values: the name and the text.
PUT: Final = """
INSERT INTO documents (name, content) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET content = excluded.content, version = documents.version + 1
"""


class Document:
    """The text `name`. Errors are those of `Database`."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    def read(self) -> str | None:
        """The text; None when there is none."""
        rows = self._database.read("SELECT content FROM documents WHERE name = %s", (self._name,))
        return rows[0][0] if rows else None

    def read_if_not(self, version: int | None) -> tuple[int | None, str | None]:
        """The version in force, and its text unless that is the `version` which is known; both None when there is
        none."""
        rows = self._database.read(
            "SELECT version, CASE WHEN version = %s THEN NULL ELSE content END FROM documents WHERE name = %s",
            (version, self._name),
        )
        return rows[0] if rows else (None, None)

    def write(self, content: str) -> None:
        """Put `content` in the place of the text before. Once this returns it is on stable storage."""
        self._database.write(PUT, (self._name, content))

    def change(self, change: Callable[[str], str]) -> None:
        """Put what `change` makes of the text ("" when there is none) in its place. Changes at once follow one another;
        what `change` raises leaves it as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                b"INSERT INTO documents (name, content) VALUES (%s, '') ON CONFLICT DO NOTHING", (self._name,)
            )
            row = connection.execute(
                b"SELECT content FROM documents WHERE name = %s FOR UPDATE", (self._name,)
            ).fetchone()
            connection.execute(PUT.encode(), (self._name, change(row[0] if row else "")))

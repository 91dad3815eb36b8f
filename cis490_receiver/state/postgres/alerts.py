"""What was raised, in rows; what lasts, in a document.

Runs take turns on a row, over all machines. Whatever a run thinks, an alert is raised for a host, symptom and hour by
the one that made the row of that key.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.errors import BadRequest
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import Database, Row
from cis490_receiver.state.base.alerts import RAISED, Alert, AlertPage, Key, Verdict

#: How many alerts are kept.
MOST_ALERTS: Final = 400_000
_LASTING: Final = "lasting-symptoms"
_BATCH: Final = 1000


class PostgresAlerts:
    """See `state.base.alerts.AlertLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lasting = Document(database, _LASTING)

    def update(self, judge: Callable[[Mapping[Key, str], Iterable[Alert]], Verdict]) -> Verdict:
        """See `AlertLog.update`. All of a verdict is kept in one step."""
        with self._database.transaction() as connection:
            connection.execute(b"UPDATE turns SET taken = taken + 1 WHERE name = 'alerts'")
            row = connection.execute(b"SELECT content FROM documents WHERE name = %s", (_LASTING,)).fetchone()
            before = _parse_lasting(row[0] if row else None)
            verdict = judge(before, _newest_first(connection))
            new = tuple(alert for alert in verdict.new if _insert(connection, alert))
            if verdict.lasting != before:
                _remember(connection, verdict.lasting)
            if new:
                _forget_old(connection)
        return replace(verdict, new=new) if len(new) < len(verdict.new) else verdict

    def page(self, *, limit: int, cursor: str | None) -> AlertPage:
        """See `AlertLog.page`."""
        before = _decode(cursor) if cursor is not None else (1 << 63) - 1
        rows = self._database.read(
            "SELECT number, line FROM alerts WHERE number < %s ORDER BY number DESC LIMIT %s",
            (before, limit + 1),
        )
        following = str(rows[limit - 1][0]) if len(rows) > limit else None
        return AlertPage(list(parsed(rows[:limit])), following)

    def lasting(self) -> dict[Key, str]:
        """See `AlertLog.lasting`."""
        return _parse_lasting(self._lasting.read())


def parsed(rows: Iterable[Row]) -> Iterator[Alert]:
    """The alerts whose lines stand last in `rows`; what is none is left out."""
    for row in rows:
        with contextlib.suppress(ValueError):
            yield Alert.from_line(row[-1].encode())


def _newest_first(connection: Connection) -> Iterator[Alert]:
    before = (1 << 63) - 1
    while rows := connection.execute(
        b"SELECT number, line FROM alerts WHERE number < %s ORDER BY number DESC LIMIT %s", (before, _BATCH)
    ).fetchall():
        yield from parsed(rows)
        before = rows[-1][0]


def _insert(connection: Connection, alert: Alert) -> bool:
    """Whether `alert` is the first of its host, symptom and hour; one that is over may be said to be so again."""
    if alert.state == RAISED:
        key = (alert.host_id or "", alert.symptom, alert.hour)
        claim = connection.execute(
            b"INSERT INTO raised VALUES (%s, %s, %s, 0) ON CONFLICT DO NOTHING RETURNING true", key
        )
        if claim.fetchone() is None:
            return False
    row = connection.execute(
        b"INSERT INTO alerts (at_ns, line) VALUES (%s, %s) RETURNING number",
        (alert.at_ns, alert.to_line().decode("ascii")),
    ).fetchone()
    if alert.state == RAISED and row is not None:
        connection.execute(
            b"UPDATE raised SET number = %s WHERE host_id = %s AND symptom = %s AND hour = %s", (*row, *key)
        )
    return True


def _forget_old(connection: Connection) -> None:
    for table in (b"alerts", b"raised"):
        connection.execute(
            b"DELETE FROM " + table + b" WHERE number <= (SELECT max(number) FROM alerts) - %s",
            (MOST_ALERTS,),
        )


def _remember(connection: Connection, lasting: Mapping[Key, str]) -> None:
    active = [{"host_id": k[0], "symptom": k[1], "since_wall": since} for k, since in lasting.items()]
    connection.execute(
        b"INSERT INTO documents (name, content) VALUES (%s, %s) ON CONFLICT (name)"
        b" DO UPDATE SET content = excluded.content, version = documents.version + 1",
        (_LASTING, json.dumps(active)),
    )


def _parse_lasting(text: str | None) -> dict[Key, str]:
    try:
        items: list[dict[str, Any]] = i_json.loads((text or "[]").encode())
        return {(item["host_id"], item["symptom"]): item["since_wall"] for item in items}
    except (ValueError, KeyError, TypeError):
        return {}


def _decode(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        return int(cursor)
    raise BadRequest("bad cursor; take it from the `next` of the page before")

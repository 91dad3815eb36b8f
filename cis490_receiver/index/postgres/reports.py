"""The hosts' doctor reports in rows: the latest of each, and a line for each of the last 30 days."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from cis490_receiver.errors import NotFound, StorageFailed, StorageFull
from cis490_receiver.index.base import PastReport
from cis490_receiver.index.reports import (
    HISTORY_CHECKS,
    HISTORY_DAYS,
    HISTORY_LINES,
    parse_past,
    parse_report,
)
from cis490_receiver.logfmt import event
from cis490_receiver.models import Report, failed_checks, wall_time
from cis490_receiver.postgres.commits import Connection
from cis490_receiver.postgres.pool import Database

log = logging.getLogger(__name__)

_DAY_NS: Final = 86400 * 10**9
#: How many reports are in memory at once while all are told.
_BATCH: Final = 20


class PostgresReports:
    """See `index.base.ReportStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def parse(self, body: bytes) -> dict[str, Any]:
        """See `parse_report`."""
        return parse_report(body)

    def put(self, host_id: str, doctor: dict[str, Any], now_ns: int) -> None:
        """See `ReportStore.put`. The history is of the same transaction."""
        report = Report(host_id, wall_time(now_ns), doctor)
        past = PastReport(report.received_at_wall, now_ns, tuple(failed_checks(doctor)[:HISTORY_CHECKS]))
        try:
            with self._database.transaction() as connection:
                # This row is locked from here on, so that the history has the order of the reports.
                _put(connection, report)
                _note(connection, host_id, past)
        except (StorageFailed, StorageFull) as exc:
            log.error(event(exc.code, doing="report", host=host_id, reason=exc.reason))
            raise

    def take_over(self, report: Report, history: Sequence[PastReport]) -> None:
        """See `ReportStore.take_over`."""
        with self._database.transaction() as connection:
            _put(connection, report)
            connection.execute(b"DELETE FROM past_reports WHERE host_id = %s", (report.host_id,))
            for past in history:
                _note(connection, report.host_id, past)

    def get(self, host_id: str) -> Report:
        """See `ReportStore.get`.

        Raises:
            DatabaseUnavailable: it is not known whether there is one.
        """
        rows = self._database.read("SELECT report FROM reports WHERE host_id = %s", (host_id,))
        try:
            return Report.from_json(rows[0][0].encode())
        except (IndexError, ValueError):
            raise NotFound("no report of this host is stored") from None

    def history(self, host_id: str) -> list[PastReport]:
        """See `ReportStore.history`."""
        rows = self._database.read(
            "SELECT line FROM past_reports WHERE host_id = %s ORDER BY number", (host_id,)
        )
        return [past for row in rows if (past := parse_past(row[0].encode())) is not None]

    def all_json(self) -> Iterator[bytes]:
        """See `ReportStore.all_json`."""
        after = ""
        while rows := self._database.read(
            "SELECT host_id, report FROM reports WHERE host_id > %s ORDER BY host_id LIMIT %s",
            (after, _BATCH),
        ):
            for host_id, text in rows:
                try:
                    Report.from_json(text.encode())
                except ValueError as exc:
                    log.warning(event("report-unreadable", host=host_id, reason=exc))
                else:
                    yield text.encode()
            after = rows[-1][0]

    def all(self) -> Iterator[Report]:
        """See `ReportStore.all`."""
        for text in self.all_json():
            yield Report.from_json(text)


def _put(connection: Connection, report: Report) -> None:
    connection.execute(
        b"INSERT INTO reports VALUES (%s, %s) ON CONFLICT (host_id) DO UPDATE SET report = excluded.report",
        (report.host_id, report.to_json().decode("ascii").strip()),
    )


def _note(connection: Connection, host_id: str, past: PastReport) -> None:
    connection.execute(
        b"INSERT INTO past_reports (host_id, received_at_ns, line) VALUES (%s, %s, %s)",
        (host_id, past.received_at_ns, json.dumps(asdict(past))),
    )
    connection.execute(
        b"DELETE FROM past_reports WHERE host_id = %s AND (received_at_ns < %s OR number <= (SELECT number"
        b" FROM past_reports WHERE host_id = %s ORDER BY number DESC OFFSET %s LIMIT 1))",
        (host_id, past.received_at_ns - HISTORY_DAYS * _DAY_NS, host_id, HISTORY_LINES),
    )

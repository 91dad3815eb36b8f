"""Questions about the records, answered by the catalog, whatever the lines are kept in."""

from __future__ import annotations

import base64
import binascii
import json
import random
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from cis490_receiver.errors import BadRequest
from cis490_receiver.filters import Filters
from cis490_receiver.index import withdrawals
from cis490_receiver.index.base import HostSummary, OpenJournal, Page, Selection, Total
from cis490_receiver.index.catalog import Catalog
from cis490_receiver.index.catalog_rows import sample
from cis490_receiver.index.conditions import conditions
from cis490_receiver.index.selection import select
from cis490_receiver.index.source import JournalSource
from cis490_receiver.index.sums import totals
from cis490_receiver.index.withdrawn_hosts import WithdrawnHosts
from cis490_receiver.models import EPISODE_FIELDS, Episode, EpisodeKey
from cis490_receiver.progress import Progress
from cis490_receiver.withdrawal import Withdrawal

CATALOG_NAME: Final = "catalog.db"

_COLUMNS: Final = ", ".join(EPISODE_FIELDS)


class CatalogQuestions:
    """The questions of `index.base.EpisodeIndex`, of the lines of `source`; the catalog is in `folder`, and the
    withdrawals' lines are there too."""

    def __init__(self, folder: Path, source: JournalSource) -> None:
        self._folder = folder
        self._source = source
        self._catalog = Catalog(folder / CATALOG_NAME, source)
        self._withdrawn = WithdrawnHosts()

    def tell_progress(self, progress: Progress) -> None:
        """See `EpisodeIndex.tell_progress`: the journal is read into the catalog."""
        read = 0

        def on_read(done: int, total: int) -> None:
            nonlocal read
            if done < read or not read:
                read = 0
                progress.begin("reading the index", total)
            progress.advance(done - read)
            read = done

        self._catalog.on_read = on_read

    def close(self) -> None:
        """See `EpisodeIndex.close`."""
        self._catalog.close()

    def open_journal(self) -> OpenJournal:
        """See `EpisodeIndex.open_journal`."""
        return self._source.open()

    def find(self, key: EpisodeKey) -> Episode | None:
        """See `EpisodeIndex.find`."""

        def query(connection: sqlite3.Connection) -> Episode | None:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM episodes WHERE host_id = ? AND episode_id = ?",
                (key.host_id, key.episode_id),
            ).fetchone()
            return Episode.from_row(row) if row else None

        return self._catalog.read(query)

    def withdrawal(self, key: EpisodeKey) -> Withdrawal | None:
        """See `EpisodeIndex.withdrawal`."""
        return self._catalog.read(
            lambda connection: withdrawals.find(connection, key.host_id, key.episode_id)
        )

    def withdrawn_names(self) -> Sequence[tuple[str, str]]:
        """Host and episode of all that is withdrawn now, of episodes with or without a record."""
        sql = "SELECT host_id, episode_id FROM main.withdrawn"
        return self._catalog.read(lambda connection: connection.execute(sql).fetchall())

    def withdrawals_state(self) -> object:
        """Something that is another after every withdrawal."""
        return withdrawals.state_of(self._folder)

    def page(self, filters: Filters, *, limit: int, cursor: str | None) -> Page:
        """See `EpisodeIndex.page`. Pages follow the time of arrival, then the name, so that a cursor
        stays good while episodes arrive and after the catalog or the journal was made anew."""
        condition, values = _where(filters, cursor)
        sql = (
            f"SELECT {_COLUMNS} FROM episodes {condition} "
            "ORDER BY received_at_ns DESC, host_id DESC, episode_id DESC LIMIT ?"
        )

        def query(connection: sqlite3.Connection) -> Page:
            rows = [Episode.from_row(row) for row in connection.execute(sql, (*values, limit + 1))]
            more = len(rows) > limit
            given = rows[:limit]
            withdrawn = {}
            if filters.withdrawn != "exclude":
                found = (withdrawals.find(connection, row.host_id, row.episode_id) for row in given)
                withdrawn = {item.key: item for item in found if item is not None}
            return Page(given, _encode_cursor(rows[limit - 1]) if more else None, withdrawn)

        return self._catalog.read(query)

    def selection(self, filters: Filters) -> AbstractContextManager[Selection]:
        """See `EpisodeIndex.selection`."""
        return select(self._catalog, self._source, filters)

    def sample(self, count: int, choose: random.Random) -> Sequence[Episode]:
        """See `EpisodeIndex.sample`."""
        return self._catalog.read(lambda connection: sample(connection, count, choose))

    def count(self, filters: Filters) -> int:
        """See `EpisodeIndex.count`."""
        return int(self._sum("count(*)", filters, None))

    def size_bytes(self, filters: Filters, *, cursor: str | None = None) -> int:
        """See `EpisodeIndex.size_bytes`."""
        # As a float: no sum of sizes, however absurd, is an error.
        return int(self._sum("total(size_bytes)", filters, cursor))

    def _sum(self, what: str, filters: Filters, cursor: str | None) -> float:
        condition, values = _where(filters, cursor)
        sql = f"SELECT {what} FROM episodes {condition}"
        return self._catalog.read(lambda connection: float(connection.execute(sql, values).fetchone()[0]))

    def hosts(self) -> Sequence[HostSummary]:
        """See `EpisodeIndex.hosts`."""
        sql = (
            "SELECT host_id, first_received_at_ns, last_received_at_ns, episodes, size_bytes, "
            "last_episode_id, last_code_commit FROM hosts ORDER BY host_id"
        )

        def query(connection: sqlite3.Connection) -> list[HostSummary]:
            journal = self.open_journal()
            with journal.stream:
                withdrawn = self._withdrawn.read(connection, journal)
            return [HostSummary(*(*row, withdrawn.get(row[0], 0))) for row in connection.execute(sql)]

        return self._catalog.read(query)

    def totals(self, filters: Filters, by: Sequence[str], *, limit: int) -> Sequence[Total]:
        """See `EpisodeIndex.totals`."""
        return self._catalog.read(lambda connection: totals(connection, filters, by, limit))

    def arrivals(self, since_ns: int, step_ns: int, steps: int) -> Mapping[str, Sequence[int]]:
        """See `EpisodeIndex.arrivals`."""
        sql = (
            "SELECT host_id, (received_at_ns - ?) / ?, count(*) FROM episodes "
            "WHERE received_at_ns >= ? AND received_at_ns < ? GROUP BY 1, 2"
        )
        values = (since_ns, step_ns, since_ns, since_ns + step_ns * steps)
        found: dict[str, list[int]] = {}
        for host_id, step, episodes in self._catalog.read(
            lambda connection: connection.execute(sql, values).fetchall()
        ):
            found.setdefault(host_id, [0] * steps)[step] = episodes
        return found

    def unstamped_since(self, ns: int) -> Mapping[str, int]:
        """See `EpisodeIndex.unstamped_since`."""
        sql = (
            "SELECT host_id, count(*) FROM episodes WHERE code_commit IS NULL AND received_at_ns >= ? "
            "GROUP BY host_id"
        )
        return self._catalog.read(lambda connection: dict(connection.execute(sql, (ns,)).fetchall()))

    def bad_lines(self) -> int:
        """See `EpisodeIndex.bad_lines`."""
        sql = "SELECT main.position.bad_lines + disk.position.bad_lines FROM main.position, disk.position"
        return self._catalog.read(lambda connection: int(connection.execute(sql).fetchone()[0]))


def _where(filters: Filters, cursor: str | None) -> tuple[str, list[Any]]:
    """The SQL that chooses what passes `filters` and comes after `cursor`, and its values."""
    after = _decode_cursor(cursor) if cursor is not None else None
    if after is not None and filters.get("until") is not None and after[0] < filters.get("until"):
        # One upper bound, the lower one: SQLite would seek by either.
        filters = filters.but(until=None)
    where, values = conditions(filters)
    if after is not None:
        where.append("(received_at_ns, host_id, episode_id) < (?, ?, ?)")
        values += after
    return f"WHERE {' AND '.join(where)}" if where else "", values


def _encode_cursor(last: Episode) -> str:
    text = json.dumps([last.received_at_ns, last.host_id, last.episode_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def _decode_cursor(cursor: str) -> list[Any]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        ns, host_id, episode_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if type(ns) is int and -(2**63) <= ns < 2**63:
            EpisodeKey(host_id, episode_id)
            return [ns, host_id, episode_id]
    except (ValueError, TypeError, binascii.Error, RecursionError):
        pass
    raise BadRequest("bad cursor; take it from the `next` of the page before")

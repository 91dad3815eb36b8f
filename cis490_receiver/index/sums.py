"""Sums over the catalog's rows, kept up in the transaction that changes the rows: how many episodes there are, and how
many bytes, for each host, day and kind. A question that they can answer costs what there are groups, not episodes.

There is a table for each of a few combinations, not one for all: a million episodes of 200 hosts and 14 kinds in a
year make a million groups of host, day and kind. Questions that no table answers count the rows.

Like the rows, they are in two sets (`catalog_rows`). What memory has of an episode that is on disk too is taken off
there, by numbers below zero.
"""

from __future__ import annotations

import datetime as dt
import functools
import operator
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from cis490_receiver.filters import Filters
from cis490_receiver.index.base import Total
from cis490_receiver.index.conditions import conditions
from cis490_receiver.index.rows import Row
from cis490_receiver.index.withdrawals import taken_off
from cis490_receiver.models import DIMENSIONS, EPISODE_FIELDS
from cis490_receiver.stamps import KIND

_DAY_NS: Final = 86_400 * 10**9
#: An episode in a sum of bytes, which are fewer.
_ONE: Final = 1 << 80
_HOST, _SIZE, _TIME = map(EPISODE_FIELDS.index, ("host_id", "size_bytes", "received_at_ns"))
_KIND: Final = tuple(map(EPISODE_FIELDS.index, KIND))
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
#: How a row of `episodes` has each dimension; absent values are empty, so that they can be part of a key.
_OF_ROW: Final = {"host_id": "host_id", "day": f"received_at_ns / {_DAY_NS}"} | {
    name: f"coalesce({name}, '')" for name in KIND
}
#: The dimensions of each table; a question goes to the first one that has all it needs.
_SUMS: Final = {
    "sums_of_host": ("host_id", *KIND),
    "sums_of_day": ("day", *KIND),
    "sums_of_host_and_day": ("day", "host_id", KIND[0]),
}
#: Bytes are floating-point numbers: exact up to 9 PB, and beyond that no sum is an error.
TABLES: Final = tuple(
    f"CREATE TABLE {{schema}}.{name} ({', '.join(f'{column} NOT NULL' for column in columns)}, "
    f"episodes INTEGER NOT NULL, size_bytes REAL NOT NULL, PRIMARY KEY ({', '.join(columns)})) WITHOUT ROWID"
    for name, columns in _SUMS.items()
)
VIEWS: Final = tuple(
    f"CREATE TEMP VIEW all_{name} AS SELECT * FROM disk.{name} UNION ALL SELECT * FROM main.{name}"
    for name in _SUMS
)


def empty(connection: sqlite3.Connection, schema: str) -> None:
    """Make every sum of one set nothing."""
    for name in _SUMS:
        connection.execute(f"DELETE FROM {schema}.{name}")


def count(
    connection: sqlite3.Connection, schema: str, sign: int, rows: str, values: Sequence[Any] = ()
) -> None:
    """Add to one set, or with a `sign` of -1 take off, some rows of episodes: what `rows` says, a table and a condition
    of SQL."""
    for name, columns in _SUMS.items():
        groups = ", ".join(_OF_ROW[column] for column in columns)
        connection.execute(
            f"INSERT INTO {schema}.{name} SELECT {groups}, {sign} * count(*), {sign} * total(size_bytes) "
            f"FROM {rows} GROUP BY {groups} ON CONFLICT DO UPDATE SET "
            "episodes = episodes + excluded.episodes, size_bytes = size_bytes + excluded.size_bytes",
            values,
        )


class Counted:
    """Rows that were counted and are not in the sums yet: many at once take a fifth of the time."""

    def __init__(self) -> None:
        #: For each table, by its key, the bytes, and `_ONE` for each episode.
        self._tables: dict[str, dict[Any, int]] = {name: defaultdict(int) for name in _SUMS}
        self.rows = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Count new episodes."""
        tables = [(_key_of(columns), self._tables[name]) for name, columns in _SUMS.items()]
        for row in rows:
            one = _ONE + int(row[_SIZE])
            dimensions = (row[_HOST], int(row[_TIME]) // _DAY_NS, *[row[place] or "" for place in _KIND])
            for key_of, groups in tables:
                groups[key_of(dimensions)] += one
        self.rows += len(rows)

    def put(self, connection: sqlite3.Connection, schema: str) -> None:
        """Add them to the sums of one set, and begin again."""
        for name, groups in self._tables.items():
            places = ", ".join("?" * (len(_SUMS[name]) + 2))
            connection.executemany(
                f"INSERT INTO {schema}.{name} VALUES ({places}) ON CONFLICT DO UPDATE SET "
                "episodes = episodes + excluded.episodes, size_bytes = size_bytes + excluded.size_bytes",
                ((*key, both // _ONE, float(both % _ONE)) for key, both in groups.items()),
            )
            groups.clear()
        self.rows = 0


def _key_of(columns: Sequence[str]) -> Callable[[Row], Row]:
    """Picks a table's key out of the values of `DIMENSIONS`."""
    return operator.itemgetter(*(DIMENSIONS.index(column) for column in columns))


def totals(connection: sqlite3.Connection, filters: Filters, by: Sequence[str], limit: int) -> list[Total]:
    """See `EpisodeIndex.totals`."""
    found, where, values = source(filters, by)
    if found == "episodes":
        columns, episodes, size = [_OF_ROW[name] for name in by], "count(*)", "total(size_bytes)"
    else:
        columns, episodes, size = [*by], "sum(episodes)", "sum(size_bytes)"
    numbers = ", ".join(str(place + 1) for place in range(len(by)))
    rows = connection.execute(
        f"SELECT {', '.join([*columns, episodes, size])} FROM {found}"
        f"{' WHERE ' + ' AND '.join(where) if where else ''}"
        f"{f' GROUP BY {numbers} HAVING {episodes} > 0 ORDER BY {numbers}' if by else ''} LIMIT ?",
        (*values, limit),
    )
    return [Total(_names(by, row), row[-2], int(row[-1])) for row in rows if row[-2]]


def source(filters: Filters, by: Sequence[str]) -> tuple[str, list[str], list[Any]]:
    """The table or view that answers a question at the least cost, and its conditions."""
    given = [_by_day(*condition) for condition in filters.conditions()]
    needed = {*by, *(column for column, _, _ in given)}
    for name, columns in _SUMS.items():
        if needed <= {*columns}:
            where = [f"{column} {comparison} ?" for column, comparison, _ in given]
            rows = f"all_{name}"
            if filters.withdrawn == "exclude":
                rows = f"(SELECT * FROM {rows} UNION ALL {taken_off(columns, _OF_ROW)})"
            elif filters.withdrawn == "only":
                rows = (
                    f"(SELECT {', '.join(columns)}, -episodes AS episodes, -size_bytes AS size_bytes "
                    f"FROM ({taken_off(columns, _OF_ROW)}))"
                )
            return rows, where, [value for _, _, value in given]
    return "episodes", *conditions(filters)


def _by_day(column: str, comparison: str, value: Any) -> tuple[str, str, Any]:
    """A condition on the time of arrival as one on the day, where it is the beginning of one."""
    if column == "received_at_ns" and value % _DAY_NS == 0:
        return "day", comparison, value // _DAY_NS
    return column, comparison, value


def _names(by: Sequence[str], row: Sequence[Any]) -> dict[str, str | None]:
    return {
        name: _date(value) if name == "day" else value or None for name, value in zip(by, row, strict=False)
    }


@functools.lru_cache(4096)
def _date(day: int) -> str:
    return dt.date.fromordinal(_EPOCH + day).isoformat()

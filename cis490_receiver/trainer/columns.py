"""The fields of records as columns of a table: which are numbers, which are moments, and which are text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

#: Moments in seconds, as text in a record, and in nanoseconds, as a number.
WALL: Final = frozenset({"received_at_wall", "withdrawn_at_wall"})
NANOSECONDS: Final = frozenset({"received_at_ns"})
_INTEGERS: Final = frozenset({"size_bytes", "schema_version"})
_BOOLEANS: Final = frozenset({"is_withdrawn"})


def arrow_schema(names: Iterable[str]) -> Any:
    """The `pyarrow.Schema` of a table with these columns. Parquet has no unit of seconds, so moments have milliseconds.

    Raises:
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa

    kinds = {
        **dict.fromkeys(_BOOLEANS, pa.bool_()),
        **dict.fromkeys(_INTEGERS, pa.int64()),
        **dict.fromkeys(WALL, pa.timestamp("ms", tz="UTC")),
        **dict.fromkeys(NANOSECONDS, pa.timestamp("ns", tz="UTC")),
    }
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def value_of(name: str, value: Any) -> Any:
    """What stands in the column `name` for the `value` of a record."""
    if name not in WALL or value is None:
        return value
    # The text of a line that was edited by hand may be no time; the nanoseconds beside it are one.
    with suppress(ValueError):
        return dt.datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z")
    return None

"""A dataset's records as a table of pandas or Arrow, with times as times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from cis490_receiver.models import EPISODE_FIELDS
from cis490_receiver.trainer.episode import Episode
from cis490_receiver.trainer.failures import ExtraMissing

_COLUMNS: Final = (*EPISODE_FIELDS, "is_withdrawn", "withdrawn_at_wall", "withdrawn_why")
_INTEGERS: Final = frozenset({"size_bytes", "schema_version"})
#: Moments in seconds and in nanoseconds.
_WALL: Final = frozenset({"received_at_wall", "withdrawn_at_wall"})
_NANOSECONDS: Final = frozenset({"received_at_ns"})


def to_arrow(episodes: Sequence[Episode]) -> Any:
    """A `pyarrow.Table` of the episodes: their fields, and whether, when and why each was withdrawn.

    Raises:
        ExtraMissing: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ExtraMissing("to_arrow", "pyarrow", "parquet") from None
    kinds = {
        "is_withdrawn": pa.bool_(),
        **dict.fromkeys(_INTEGERS, pa.int64()),
        **dict.fromkeys(_WALL, pa.timestamp("ms", tz="UTC")),
        **dict.fromkeys(_NANOSECONDS, pa.timestamp("ns", tz="UTC")),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in _COLUMNS])
    return pa.table(_values(episodes), schema=schema)


def to_pandas(episodes: Sequence[Episode]) -> Any:
    """A `pandas.DataFrame` of the same.

    Raises:
        ExtraMissing: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ExtraMissing("to_pandas", "pandas", "pandas") from None
    values = _values(episodes)
    for name in _WALL:
        values[name] = pd.Series(values[name], dtype="datetime64[s, UTC]")
    for name in _NANOSECONDS:
        values[name] = pd.to_datetime(values[name], unit="ns", utc=True)
    return pd.DataFrame(values)


def _values(episodes: Sequence[Episode]) -> dict[str, Any]:
    return {name: [_value(name, getattr(item, name)) for item in episodes] for name in _COLUMNS}


def _value(name: str, value: Any) -> Any:
    if name not in _WALL or value is None:
        return value
    # The text of a line that was edited by hand may be no time; the nanoseconds beside it are one.
    with suppress(ValueError):
        return dt.datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z")
    return None

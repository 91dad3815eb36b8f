"""A dataset's records as a table of pandas or Arrow, with times as times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cis490_receiver.models import EPISODE_FIELDS
from cis490_receiver.trainer.columns import NANOSECONDS, WALL, arrow_schema, value_of
from cis490_receiver.trainer.episode import Episode
from cis490_receiver.trainer.failures import ExtraMissing

_COLUMNS: Final = (*EPISODE_FIELDS, "is_withdrawn", "withdrawn_at_wall", "withdrawn_why")


def to_arrow(episodes: Sequence[Episode]) -> Any:
    """A `pyarrow.Table` of the episodes: their fields, and whether, when and why each was withdrawn.

    Raises:
        ExtraMissing: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ExtraMissing("to_arrow", "pyarrow", "parquet") from None
    return pa.table(_values(episodes), schema=arrow_schema(_COLUMNS))


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
    for name in WALL:
        values[name] = pd.Series(values[name], dtype="datetime64[s, UTC]")
    for name in NANOSECONDS:
        values[name] = pd.to_datetime(values[name], unit="ns", utc=True)
    return pd.DataFrame(values)


def _values(episodes: Sequence[Episode]) -> dict[str, Any]:
    return {name: [value_of(name, getattr(item, name)) for item in episodes] for name in _COLUMNS}

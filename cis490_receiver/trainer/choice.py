"""What a user of the library may give as filters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from cis490_receiver import times
from cis490_receiver.filters import FILTERS, Filters


def choose(given: Mapping[str, Any]) -> Filters:
    """The filters of ``GET /v1/episodes`` by their names. A moment is a datetime, a date, a text such as
    ``2026-11-23``, or a span before now such as ``7d``.

    Raises:
        TypeError: there is no such filter.
        ValueError: a value cannot be used.
    """
    if unknown := sorted(given.keys() - FILTERS.keys()):
        raise TypeError(f"no such filter: {', '.join(unknown)}; there are {', '.join(FILTERS)}")
    return Filters(**{name: _value(name, value) for name, value in given.items() if value is not None})


def _value(name: str, value: Any) -> Any:
    item = FILTERS[name]
    try:
        if item.column == "received_at_ns":
            return item.parse(_moment(value))
        return item.parse(str(value))
    except ValueError as exc:
        raise ValueError(f"{name} {exc}, not {value!r}") from None


def _moment(value: Any) -> str:
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        return times.parse_past(str(value), dt.datetime.now(dt.UTC)).isoformat()
    except ValueError:
        return str(value)

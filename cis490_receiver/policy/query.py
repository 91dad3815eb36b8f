"""What a listing may be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from cis490_receiver.errors import BadRequest
from cis490_receiver.filters import FILTERS, Filter, Filters

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 100

_KNOWN: Final = (*FILTERS, "limit", "cursor")


def parse_filters(arguments: Mapping[str, str]) -> Filters:
    """The filters of ``GET /v1/episodes``, `mirror` and `export`.

    Raises:
        BadRequest: one of them is unknown or malformed; a filter that were ignored would give more than was
            asked for.
    """
    for name in arguments:
        if name not in _KNOWN:
            raise BadRequest(f"unknown filter {name[:40]!a}; known are {', '.join(_KNOWN)}")
    return Filters(
        **{name: _value(item, arguments[name]) for name, item in FILTERS.items() if name in arguments}
    )


def _value(item: Filter, text: str) -> Any:
    try:
        return item.parse(text)
    except ValueError as exc:
        raise BadRequest(f"{item.name} {exc}") from None


def parse_limit(arguments: Mapping[str, str]) -> int:
    """The length of a page.

    Raises:
        BadRequest: not a number from 1 to 1000.
    """
    text = arguments.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest(f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)

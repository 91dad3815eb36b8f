"""What a listing may be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cis490_receiver.errors import BadRequest
from cis490_receiver.filters import FILTERS, Filter, Filters
from cis490_receiver.models import DIMENSIONS

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 100

#: What a page of episodes is asked for with, and what totals are.
PAGE_ARGUMENTS: Final = (*FILTERS, "limit", "cursor")
TOTALS_ARGUMENTS: Final = (*FILTERS, "by")


def parse_filters(arguments: Mapping[str, str], known: Sequence[str] = PAGE_ARGUMENTS) -> Filters:
    """The filters of ``GET /v1/episodes``, `mirror` and `export`; `known` are all arguments that may be there.

    Raises:
        BadRequest: one of them is unknown or malformed; a filter that were ignored would give more than was
            asked for.
    """
    for name in arguments:
        if name not in known:
            raise BadRequest(f"unknown filter {name[:40]!a}; known are {', '.join(known)}")
    return Filters(
        **{name: _value(item, arguments[name]) for name, item in FILTERS.items() if name in arguments}
    )


def _value(item: Filter, text: str) -> Any:
    try:
        return item.parse(text)
    except ValueError as exc:
        raise BadRequest(f"{item.name} {exc}") from None


def parse_dimensions(arguments: Mapping[str, str]) -> list[str]:
    """What ``GET /v1/totals`` is to count by: its ``by``, names with commas between.

    Raises:
        BadRequest: one of them is unknown, or named twice.
    """
    names = [name for name in arguments.get("by", "").split(",") if name]
    if not {*names} <= {*DIMENSIONS} or len({*names}) < len(names):
        raise BadRequest(f"by must be some of {', '.join(DIMENSIONS)}, each once, with commas between")
    return names


def parse_limit(arguments: Mapping[str, str]) -> int:
    """The length of a page.

    Raises:
        BadRequest: not a number from 1 to 1000.
    """
    text = arguments.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest(f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)

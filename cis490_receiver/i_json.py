r"""JSON as every strict parser reads it: I-JSON (RFC 7493), of bounded depth.

Python's own parser takes more than that: UTF-16 and UTF-32, half of a surrogate pair (``"\ud800"``), NaN and infinity,
integers of any length, one name twice. What it lets in, others choke on, and with it on all that is listed beside it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

#: How deep arrays and objects may nest.
MAX_DEPTH: Final = 64
#: What a signed or an unsigned integer of 64 bits holds; parsers round what is beyond, or refuse it.
_SMALLEST: Final = -(1 << 63)
_LARGEST: Final = (1 << 64) - 1
_MAYBE_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read `data`.

    Raises:
        ValueError: it is not I-JSON, or nests deeper than `max_depth`; the text says what is wrong.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _is_deeper(value, max_depth):
        raise ValueError(f"nested deeper than {max_depth}")
    if _MAYBE_SURROGATE.search(data):
        _check_surrogates(value)
    return value


def readable(text: str) -> str:
    """`text` with every surrogate, such as Python makes of file names that are not UTF-8, spelled out as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > 20 or not _SMALLEST <= int(text) <= _LARGEST:
        raise ValueError("an integer does not fit into 64 bits")
    return int(text)


def _is_deeper(value: Any, max_depth: int) -> bool:
    layer = [value]
    for _ in range(max_depth):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return any(isinstance(inner, dict | list) for inner in layer)


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair") from None

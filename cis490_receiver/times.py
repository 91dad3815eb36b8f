"""How people write times: a span such as ``7d``, a date, or a date and time of ISO 8601."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN: Final = re.compile(r"([0-9]{1,9})\s*([smhdw])")
_LONGEST_SECONDS: Final = 100 * 366 * 86400
#: What both may look like, for messages and help.
FORMS: Final = "7d, 36h, 90m, 1w, 2026-11-23 or 2026-11-23T08:00Z"


def parse_span(text: str) -> dt.timedelta:
    """A span of time: a number and s, m, h, d or w, such as ``90m``, ``36h``, ``7d`` or ``1w``.

    Raises:
        ValueError: it is none, nothing, or longer than a century.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ValueError("give a span of time such as 90m, 36h, 7d or 1w")
    return dt.timedelta(seconds=seconds)


def parse_moment(text: str) -> dt.datetime:
    """A date (its first instant) or a date and time of ISO 8601; UTC where it names no offset.

    Raises:
        ValueError: it is neither, or outside of 1970 to 2199.
    """
    # A `+` that was not percent-encoded has become a space.
    moment = dt.datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    try:
        year = moment.astimezone(dt.UTC).year
    except OverflowError:
        year = 0
    if not 1970 <= year < 2200:
        raise ValueError("out of range")
    return moment


def parse_past(text: str, now: dt.datetime) -> dt.datetime:
    """A moment, or the one that lies a span of time before `now`.

    Raises:
        ValueError: it is neither.
    """
    return _moment_or(text, now, -1)


def parse_future(text: str, now: dt.datetime) -> dt.datetime:
    """A moment, or the one that lies a span of time after `now`.

    Raises:
        ValueError: it is neither.
    """
    return _moment_or(text, now, 1)


def _moment_or(text: str, now: dt.datetime, direction: int) -> dt.datetime:
    if re.fullmatch(r"[0-9]+\s*[A-Za-z]+", text.strip()):
        return now + direction * parse_span(text)
    try:
        return parse_moment(text)
    except ValueError:
        raise ValueError(f"give {FORMS}") from None

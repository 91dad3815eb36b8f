"""One way to write times, everywhere."""

from __future__ import annotations

import datetime as dt

import pytest

from cis490_receiver import times

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "hours"), [("90m", 1.5), ("36h", 36), ("7d", 168), ("1w", 168), (" 2 D ", 48), ("3600s", 1)]
)
def test_a_span_counts_from_now(text: str, hours: float) -> None:
    assert times.parse_past(text, NOW) == NOW - dt.timedelta(hours=hours)
    assert times.parse_future(text, NOW) == NOW + dt.timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23", dt.datetime(2026, 11, 23, tzinfo=dt.UTC)),
        ("2026-11-23T08:00Z", dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)),
        ("2026-11-23T08:00:00+02:00", dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)),
    ],
)
def test_a_moment_is_itself(text: str, moment: dt.datetime) -> None:
    assert times.parse_past(text, NOW) == times.parse_future(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "7", "0h", "-1d", "1y", "999999999w", "tomorrow", "7d ago", "1066-01-01"]
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"give .*90m"):
        times.parse_past(text, NOW)

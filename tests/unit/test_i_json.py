"""What is taken as JSON is what strict parsers take."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis490_receiver import i_json
from cis490_receiver.client.doctor.report import Check, run_checks
from cis490_receiver.models import Report

whole = st.integers(-(2**63), 2**64 - 1)
documents = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
# Surrogates, numbers beyond 64 bits, NaN and infinity: what Python writes and others do not read.
anything = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters() | st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(documents)
def test_what_is_sound_is_taken_as_it_is(document: Any) -> None:
    assert i_json.loads(json.dumps(document).encode()) == document
    assert i_json.loads(orjson.dumps(document)) == document


@given(anything)
def test_what_is_taken_is_read_alike_by_a_strict_parser(document: Any) -> None:
    text = json.dumps(document).encode()
    with contextlib.suppress(ValueError):
        taken = i_json.loads(text)
        assert orjson.loads(text) == taken
        assert orjson.loads(json.dumps(taken)) == taken


@given(st.binary(max_size=40) | st.text('[]{}":,0123456789.eE-+ \\\\udD8Ca', max_size=40).map(str.encode))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        taken = i_json.loads(data)
        assert orjson.loads(data) == taken


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (rb'"\ud800"', "half of a surrogate pair"),
        (rb'{"\uDFFF": 1}', "half of a surrogate pair"),
        (rb'["\udc00\ud800"]', "half of a surrogate pair"),
        (rb'["\ud83d\ude00\uD83D"]', "half of a surrogate pair"),
        (b'"\xed\xa0\x80"', "utf-8"),
        (b"NaN", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b"1e400", "out of range"),
        (b"18446744073709551616", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"9" * 5000, "64 bits"),
        (b'{"a": 1, "a": 1}', "occurs twice"),
        (b"[" * 65 + b"]" * 65, "deeper than 64"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        ('{"a": 1}'.encode("utf-16"), "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_not_i_json_is_refused_with_its_reason(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        i_json.loads(text)


def test_the_bounds_themselves_are_taken() -> None:
    for text in (
        b"18446744073709551615",
        b"-9223372036854775808",
        b"-0",
        rb'"\ud83d\ude00"',
        b"[" * 64 + b"]" * 64,
    ):
        i_json.loads(text)


def test_a_report_that_is_taken_can_be_read_again() -> None:
    deepest: Any = {}
    for _ in range(i_json.MAX_DEPTH - 1):
        deepest = {"a": deepest}
    doctor = i_json.loads(json.dumps(deepest).encode())
    stored = Report("h", "2026-11-23T10:00:00Z", doctor).to_json()
    assert Report.from_json(stored).doctor == deepest


def test_what_is_no_text_is_spelled_out_in_a_report() -> None:
    """A file name that is not UTF-8, in whatever a check has seen."""
    name = b"run-\xff.tar.zst".decode("utf-8", "surrogateescape")
    report = run_checks("h", [("spool", lambda: Check("spool", "fail", f"{name} is odd", f"rename {name}"))])
    taken = i_json.loads(json.dumps(report).encode())
    assert taken["checks"][0]["seen"] == r"run-\udcff.tar.zst is odd"

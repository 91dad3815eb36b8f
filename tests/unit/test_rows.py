"""`index.rows`: both ways to read a line find the same in it."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from cis490_receiver.index import rows
from cis490_receiver.models import EPISODE_FIELDS, Episode

RECORD = Episode(
    host_id="lab-1",
    episode_id="run-1",
    sha256="0f" * 32,
    size_bytes=123,
    schema_version=2,
    code_commit="1" * 40,
    episode_type="control",
    benign_profile=None,
    received_at_wall="2026-01-01T00:00:00Z",
    received_at_ns=1_767_225_600 * 10**9,
)
LINE = RECORD.to_line().rstrip(b"\n")
#: What may stand in the place of a value.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.sampled_from([(1 << 63) - 1, 1 << 63, 10**18 - 1, 10**18, (1 << 48), (1 << 48) + 1, -1, 0]),
    st.text(max_size=5),
    st.sampled_from(
        ["a..b", "..", ".a", "a.", "a/b", "", "x" * 129, "a" * 64, "A" * 64, '"', "\\", "\x7f", "é"]
    ),
)


def check(line: bytes) -> None:
    """What is read as text is what the parser finds; what it would refuse is never read as text."""
    texts = rows.texts_of([line])
    if texts is not None:
        values = rows.row_of(Episode.from_line(line))
        assert texts == [tuple("" if value is None else str(value) for value in values)]


@given(st.dictionaries(st.sampled_from(EPISODE_FIELDS), VALUES, max_size=3), st.booleans())
def test_whatever_a_field_says(changes: dict[str, object], ascii_only: bool) -> None:
    line = json.dumps(json.loads(LINE) | changes, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    check(line)


@given(st.integers(0, len(LINE)), st.integers(0, 3), st.binary(max_size=3))
@example(0, 0, b"\xef\xbb\xbf")
@example(len(LINE), 0, b"\r")
def test_whatever_stands_anywhere(place: int, gone: int, put: bytes) -> None:
    line = LINE[:place] + put + LINE[place + gone :]
    check(line)


def test_what_this_program_writes_needs_no_parser() -> None:
    assert rows.texts_of([LINE] * 3) is not None
    assert rows.texts_of([LINE, LINE + b" "]) is None
    assert rows.texts_of([LINE, b"", LINE]) is None

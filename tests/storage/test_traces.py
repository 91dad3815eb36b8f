"""The names in incoming/: they fit, tell what was said, and are read by their grammar."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cis490_receiver import protocol
from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import linking, traces

IDS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=128).filter(
    protocol.is_valid_id
)
STAMPS = st.builds(
    Stamps,
    st.integers(-(10**18) + 1, 10**18 - 1),
    st.none() | st.text("0123456789abcdef", min_size=40, max_size=40),
    st.none() | st.sampled_from(sorted(protocol.EPISODE_TYPES)),
    st.none() | st.sampled_from(sorted(protocol.BENIGN_PROFILES)),
)
LONGEST = Stamps(
    -(10**18) + 1, "f" * 40, max(protocol.EPISODE_TYPES, key=len), max(protocol.BENIGN_PROFILES, key=len)
)


@given(st.builds(EpisodeKey, IDS, IDS), STAMPS)
@example(EpisodeKey("h" * 128, "e" * 128), LONGEST)
@example(EpisodeKey("h", "e"), Stamps())
def test_a_name_fits_and_tells_what_was_said(key: EpisodeKey, stamps: Stamps) -> None:
    name = traces.new_name(key, stamps)
    assert len(linking.marker_of(name)) <= traces.NAME_MAX
    for one in (name, linking.marker_of(name)):
        trace = traces.parse(one)
        assert trace is not None
        assert (trace.host_id, trace.stamps) == (key.host_id, stamps)
        assert trace.episode_id in (key.episode_id, None)
        assert trace.episode_id is not None or len(key.host_id) + len(key.episode_id) > 140


def test_the_names_of_older_versions_tell_the_key() -> None:
    assert traces.parse(f"h~e~{'0' * 32}") == traces.Trace("h", "e", None, "0" * 32)
    assert traces.parse(f"h~~{'0' * 32}~marker") == traces.Trace("h", None, None, "0" * 32)


def test_stamps_of_a_version_that_knew_fewer_fields_are_read() -> None:
    assert traces.parse(f"h~e~2~{'0' * 16}") == traces.Trace("h", "e", Stamps(2), "0" * 16)
    assert traces.parse(f"h~e~2..control~{'0' * 16}") == traces.Trace(
        "h", "e", Stamps(2, None, "control"), "0" * 16
    )


@pytest.mark.parametrize(
    "stamps",
    [
        "",
        "2...x",
        "2.abc..",
        "2..unknown.",
        "x...",
        "2....",
        "٢...",
        "2 ...",
        "2" * 30 + "...",
    ],
)
def test_stamps_that_nobody_wrote_are_none(stamps: str) -> None:
    assert traces.parse(f"h~e~{stamps}~0123") == traces.Trace("h", "e", None, "0123")


@given(st.text(st.characters(exclude_characters="/\0"), max_size=80) | st.from_regex(r"[h.~0-9]{0,12}"))
@example("..~~0123")
@example("h~..~0123")
@example("~~0")
@example("h~e~")
@example("h~e~0123\n")
def test_any_other_name_tells_no_more_than_it_says(name: Any) -> None:
    trace = traces.parse(name)
    assert trace is None or (
        protocol.is_valid_id(trace.host_id) and protocol.is_valid_id(trace.episode_id or "x")
    )
    assert traces.stamps_in([name]) == (trace.stamps if trace is not None else None)


def test_traces_that_do_not_agree_tell_nothing() -> None:
    key = EpisodeKey("h", "e")
    one, other = traces.new_name(key, Stamps(3)), traces.new_name(key, Stamps(4))
    assert traces.stamps_in([one, one]) == Stamps(3)
    assert traces.stamps_in([one, other]) is None
    assert traces.stamps_in([one, f"h~e~{'0' * 32}"]) is None
    assert traces.stamps_in([]) is None

"""`state.base.marks` and `state.base.place`: what runs leave for each other, and what commands look at first."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cis490_receiver.backends import Backends
from tests.contract.places import HOUR_NS, Place, in_processes


def test_a_heartbeat_is_as_old_as_it_is(place: Place, backends: Backends) -> None:
    assert backends.heartbeat.last_ns() is None
    before_ns = time.time_ns()
    backends.heartbeat.beat()
    last_ns = place.open().heartbeat.last_ns()
    assert last_ns is not None and abs(last_ns - before_ns) < HOUR_NS
    place.open().heartbeat.beat()
    again_ns = backends.heartbeat.last_ns()
    assert again_ns is not None and again_ns >= last_ns


@pytest.mark.parametrize("value", [{"cursor": None}, [], ["é", 1, {"a": [True, 2.5]}], "text"])
def test_a_memo_gives_what_was_written_last(place: Place, backends: Backends, value: Any) -> None:
    assert backends.faults.read() is None and backends.verify_place.read() is None
    backends.faults.write({"before": 1})
    backends.faults.write(value)
    assert place.open().faults.read() == value
    assert backends.verify_place.read() is None


def write_often(place: Place, writer: int) -> None:
    memo = place.open().faults
    for number in range(50):
        memo.write({"writer": writer, "number": number, "text": "x" * (writer * 1000)})
        assert memo.read() is not None


def test_of_writers_at_once_one_memo_stays_whole(place: Place) -> None:
    in_processes(write_often, [(place, 1), (place, 2)])
    found = place.open().faults.read()
    assert (found["number"], len(found["text"])) == (49, found["writer"] * 1000)


def test_a_place_that_a_receiver_opened_can_be_used(backends: Backends) -> None:
    backends.place.check("stats")
    backends.place.check_used()
    assert backends.place.has_index() and backends.place.name

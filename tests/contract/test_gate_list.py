"""`state.base.gate_list.GateList`: one snapshot, seen by every process."""

from __future__ import annotations

import time

from cis490_receiver.backends import Backends
from cis490_receiver.state.base.gate_list import GateSnapshot, Watched
from tests.contract.places import PATIENCE_SECONDS, Place, in_processes
from tests.gate.snapshots import make_snapshot


def heads(place: Place) -> Watched[str]:
    return place.open().gate_list.watch(lambda snapshot: snapshot.head, lambda head: {"head": head})


def seen(watched: Watched[str], expected: GateSnapshot) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while watched.current() != expected.head and time.monotonic() < deadline:
        time.sleep(0.01)
    return watched.current() == expected.head


def test_a_snapshot_is_replaced_as_a_whole(place: Place, backends: Backends) -> None:
    assert backends.gate_list.read() is None
    for snapshot in (make_snapshot(1, 0), make_snapshot(3, 2, 1, older=(0,))):
        backends.gate_list.replace(snapshot)
        assert place.open().gate_list.read() == backends.gate_list.read() == snapshot


def test_workers_see_a_new_one_without_a_restart(place: Place, backends: Backends) -> None:
    watched = heads(place)
    assert watched.current() is None
    for snapshot in (make_snapshot(1, 0), make_snapshot(2, 1)):
        backends.gate_list.replace(snapshot)
        assert seen(watched, snapshot)
    assert heads(place).current() == make_snapshot(2, 1).head


def replace_often(place: Place, first: int) -> None:
    gate_list = place.open().gate_list
    for number in range(first, first + 30):
        gate_list.replace(make_snapshot(number, number - 1))
        assert gate_list.read() is not None


def test_no_reader_is_ever_without(place: Place) -> None:
    in_processes(replace_often, [(place, 1), (place, 101)])
    found = place.open().gate_list.read()
    assert found is not None and found.head in (make_snapshot(30).head, make_snapshot(130).head)

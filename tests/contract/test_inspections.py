"""`state.base.inspections`: one inspects at a time, and what it leaves is whole."""

from __future__ import annotations

import os
from pathlib import Path

from cis490_receiver.backends import Backends
from cis490_receiver.models import EpisodeKey
from cis490_receiver.state.base.inspections import KINDS, Inspected, Mark
from tests.contract.places import NOW_NS, Place, in_a_process_that_dies, in_processes


def known(number: int) -> Inspected:
    found = [(EpisodeKey("host", f"e{n}"), kind, f"detail {n}") for n in range(number) for kind in KINDS]
    mark = Mark(
        "generation", 100 * number, 100 * (number + 1), number, NOW_NS, ((number, "digest"), (1, "other"))
    )
    return Inspected(mark, (), (EpisodeKey("host", "again"),)).with_troubles(
        found, now_ns=NOW_NS, forget_ns=1
    )


def test_what_was_written_last_is_read(place: Place, backends: Backends) -> None:
    assert backends.inspections.read() == Inspected()
    for number in (1, 5):
        backends.inspections.write(known(number))
        assert place.open().inspections.read() == known(number)


def note(place: Place, folder: Path) -> None:
    inspections = place.open().inspections
    turns = 0
    while turns < 20:
        with inspections.alone_or_not() as alone:
            if alone:
                (folder / "inside").mkdir()
                (folder / "inside").rmdir()
                turns += 1


def test_of_several_only_one_is_alone(place: Place, tmp_path: Path) -> None:
    in_processes(note, [(place, tmp_path), (place, tmp_path), (place, tmp_path)])


def die_alone(place: Place) -> None:
    with place.open().inspections.alone_or_not() as alone:
        os._exit(9 if alone else 1)


def test_who_dies_is_in_nobodys_way(place: Place, backends: Backends) -> None:
    in_a_process_that_dies(die_alone, place)
    with backends.inspections.alone_or_not() as alone, place.open().inspections.alone_or_not() as other:
        assert (alone, other) == (True, False)

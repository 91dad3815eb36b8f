"""`index.base.releases.Releases`: frozen tables of contents, and the selection that they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.releases import About, Release, ReleaseExists
from cis490_receiver.models import wall_time
from cis490_receiver.withdrawal import Withdrawal
from tests.contract.places import NOW_NS, Place, in_processes, key, record


def about(number: int = 0) -> About:
    made = wall_time(NOW_NS + number * 10**9)
    return About(created_at_wall=made, filters={"host": "b"}, why="a reason – é", by="somebody")


def freeze(backends: Backends, name: str, filters: Filters | None = None, number: int = 0) -> Release:
    with backends.index.selection(filters or Filters()) as selection:
        return backends.releases.create(name, selection, about(number))


def table(backends: Backends, name: str) -> bytes:
    opened = backends.releases.open(name)
    assert opened is not None
    with opened.stream as stream:
        return stream.read()


def withdraw(backends: Backends, *numbers: int, withdrawn: bool = True) -> None:
    backends.withdrawals.append(
        [
            Withdrawal(wall_time(NOW_NS), NOW_NS, "b", key(n).episode_id, withdrawn, "bad", "me")
            for n in numbers
        ]
    )


@pytest.fixture
def filled(backends: Backends) -> Backends:
    for number in (5, 1, 4, 2, 3):
        for host_id in ("b", "a"):
            backends.index.append(record(number, host_id))
    return backends


def test_it_has_the_chosen_lines_sorted_and_says_what_it_is(place: Place, filled: Backends) -> None:
    made = freeze(filled, "r-1", Filters(host="b"))
    lines = [record(number, "b").to_line() for number in (1, 2, 3, 4, 5)]
    again = place.open()
    assert table(again, "r-1") == b"".join(lines)
    assert again.releases.find("r-1") == made and list(again.releases.all()) == [made]
    assert made.sha256 == hashlib.sha256(b"".join(lines)).hexdigest()
    assert (made.size_bytes, made.episodes, made.hosts) == (sum(map(len, lines)), 5, 1)
    assert made.episode_bytes == sum(record(number).size_bytes for number in (1, 2, 3, 4, 5))
    assert made.about == about()
    assert table(again, "r-1") != table(filled, "r-1") + b"x" and freeze(filled, "all").hosts == 2
    assert again.releases.find("none") is again.releases.open("../r-1") is None


def test_a_name_is_given_once_and_the_newest_comes_first(filled: Backends) -> None:
    freeze(filled, "r-1")
    before = table(filled, "r-1")
    filled.index.append(record(9))
    with pytest.raises(ReleaseExists):
        freeze(filled, "r-1", number=1)
    assert table(filled, "r-1") == before
    freeze(filled, "r-2", number=2)
    freeze(filled, "r-0", number=1)
    assert [release.name for release in filled.releases.all()] == ["r-2", "r-0", "r-1"]


def test_what_is_withdrawn_is_told_and_changes_nothing(place: Place, filled: Backends) -> None:
    withdraw(filled, 1)
    made = freeze(filled, "r", Filters(host="b"))
    assert made.episodes == 4 and filled.releases.count_withdrawn(made) == 0
    before = table(filled, "r")
    for looker in (filled, place.open()):
        withdraw(filled, 2, 4, 77)
        assert looker.releases.count_withdrawn(made) == 2
        assert list(looker.releases.withdrawn(made)) == [key(2, "b"), key(4, "b")]
        withdraw(filled, 2, withdrawn=False)
        assert list(looker.releases.withdrawn(made)) == [key(4, "b")]
    assert table(filled, "r") == before and filled.releases.find("r") == made


def interrupted(selection: Selection) -> Iterator[bytes]:
    yield next(selection.lines)
    raise StorageFailed


def test_what_fails_leaves_nothing_and_may_be_tried_again(place: Place, filled: Backends) -> None:
    with filled.index.selection(Filters()) as selection:
        torn = Selection(interrupted(selection), 10, 0, 2)
        with pytest.raises(StorageFailed):
            filled.releases.create("r", torn, about())
    assert list(place.open().releases.all()) == []
    assert freeze(filled, "r").episodes == 10


def freeze_or_not(place: Place, host_id: str) -> None:
    try:
        freeze(place.open(), "r", Filters(host=host_id))
    except ReleaseExists:
        return


def test_of_two_at_once_one_is_made(place: Place, filled: Backends) -> None:
    in_processes(freeze_or_not, [(place, "a"), (place, "b")])
    [made] = filled.releases.all()
    lines = table(filled, "r")
    assert made.sha256 == hashlib.sha256(lines).hexdigest() and len(lines.splitlines()) == 5

"""`index.base.renewal`: an index made anew beside its writers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.index.base.renewal import Draft
from cis490_receiver.models import Episode, EpisodeKey
from tests.contract.places import Place, in_a_process_that_dies, key, record


def nobody(appended: Iterator[bytes]) -> set[EpisodeKey]:
    return set()


def keys(index: EpisodeIndex) -> list[EpisodeKey]:
    """In the order of their lines, which the questions agree with."""
    journal = index.open_journal()
    with journal.stream:
        found = [Episode.from_line(line).key for line in journal.stream.read(journal.end).splitlines()]
    assert sorted(found) == sorted(e.key for e in index.page(Filters(), limit=100, cursor=None).episodes)
    return found


def generation_of(index: EpisodeIndex) -> str:
    journal = index.open_journal()
    journal.stream.close()
    return journal.generation


def drop_first(draft: Draft) -> None:
    for number, line in enumerate(draft.old.lines()):
        if number == 0:
            draft.set_aside(line, "no-episode")
        else:
            draft.keep(line)


def test_a_draft_takes_the_place_of_the_index_and_offsets_are_void(place: Place, backends: Backends) -> None:
    index = backends.index
    for number in range(4):
        index.append(record(number))
    before = generation_of(index)
    renewal = index.renewal(SystemClock())
    with renewal.alone(), renewal.draft() as draft:
        assert draft.old.size_bytes == len(b"".join(draft.old.lines()))
        drop_first(draft)
        draft.keep(record(9).to_line())
        draft.put_in_force(nobody)
    expected = [key(1), key(2), key(3), key(9)]
    assert keys(index) == keys(place.open().index) == expected
    assert index.find(key(0)) is None
    assert generation_of(index) != before


def test_what_is_appended_meanwhile_follows_and_overtakes(backends: Backends) -> None:
    index = backends.index
    for number in range(3):
        index.append(record(number))
    renewal = index.renewal(SystemClock())
    with renewal.alone(), renewal.draft() as draft:
        drop_first(draft)
        # A line that was rebuilt, of an episode whose writer appends its own a moment later.
        draft.keep(record(7).to_line())
        index.append(record(5))
        assert [Episode.from_line(line).key for line in draft.old.appended()] == [key(5)]
        index.append(record(7))
        assert [Episode.from_line(line).key for line in draft.old.appended()] == [key(7)]

        def overtaken(appended: Iterator[bytes]) -> set[EpisodeKey]:
            assert [Episode.from_line(line).key for line in appended] == [key(5), key(7)]
            return {key(7)}

        draft.put_in_force(overtaken)
    assert keys(index) == [key(1), key(2), key(5), key(7)]


def test_a_draft_that_is_not_put_in_force_counts_for_nothing(backends: Backends) -> None:
    index = backends.index
    index.append(record(1))
    renewal = index.renewal(SystemClock())
    with pytest.raises(RuntimeError), renewal.alone(), renewal.draft() as draft:
        drop_first(draft)
        raise RuntimeError
    assert keys(index) == [key(1)]
    with renewal.look() as old:
        assert list(old.lines()) == [record(1).to_line()]


def die_over_a_draft(place: Place) -> None:
    renewal = place.open().index.renewal(SystemClock())
    with renewal.alone_or_not() as alone, renewal.draft() as draft:
        assert alone
        drop_first(draft)
        os._exit(9)


def test_a_dead_one_leaves_the_index_and_its_turn(place: Place, backends: Backends) -> None:
    backends.index.append(record(1))
    in_a_process_that_dies(die_over_a_draft, place)
    index = place.open().index
    assert keys(index) == [key(1)]
    renewal = index.renewal(SystemClock())
    with renewal.alone_or_not() as alone, renewal.draft() as draft:
        assert alone
        for line in draft.old.lines():
            draft.keep(line)
        draft.keep(record(2).to_line())
        draft.put_in_force(nobody)
    assert keys(index) == [key(1), key(2)]


def test_one_at_a_time(place: Place, backends: Backends) -> None:
    with backends.index.renewal(SystemClock()).alone():
        other = place.open().index.renewal(SystemClock())
        with other.alone_or_not() as alone:
            assert not alone
    with other.alone_or_not() as alone:
        assert alone

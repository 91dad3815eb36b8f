"""`index.base.EpisodeIndex`: the table of contents, for any number of processes."""

from __future__ import annotations

import os
import random

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import BadRequest
from cis490_receiver.filters import Filters
from cis490_receiver.models import Episode
from tests.contract.places import (
    NOW_NS,
    SECOND_NS,
    Place,
    content,
    in_a_process_that_dies,
    in_processes,
    key,
    record,
)


def test_a_record_is_seen_by_all_at_once_and_after_a_restart(place: Place, backends: Backends) -> None:
    other = place.open().index
    assert other.find(key(1)) is None
    backends.index.append(record(1))
    assert other.find(key(1)) == backends.index.find(key(1)) == place.open().index.find(key(1)) == record(1)
    backends.index.check_writable()
    backends.index.make_durable()
    backends.index.close()
    assert backends.index.find(key(1)) == record(1)


def append_many(place: Place, first: int) -> None:
    index = place.open().index
    for number in range(first, first + 100):
        index.append(record(number))
        assert index.find(key(number)) == record(number)


def test_processes_that_append_at_once_lose_nothing(place: Place) -> None:
    in_processes(append_many, [(place, 0), (place, 100)])
    index = place.open().index
    assert index.count(Filters()) == 200 and index.bad_lines() == 0
    assert all(index.find(key(number)) == record(number) for number in range(200))


def append_and_die(place: Place) -> None:
    place.open().index.append(record(1))
    os._exit(9)


def test_a_record_outlives_its_writer(place: Place) -> None:
    in_a_process_that_dies(append_and_die, place)
    assert place.open().index.find(key(1)) == record(1)


def test_pages_are_newest_first_and_cursors_stay_good_while_records_arrive(backends: Backends) -> None:
    index = backends.index
    for number in range(10):
        index.append(record(number))
    first = index.page(Filters(), limit=4, cursor=None)
    assert [episode.key for episode in first.episodes] == [key(number) for number in (9, 8, 7, 6)]
    index.append(record(10))
    second = index.page(Filters(), limit=4, cursor=first.next)
    assert [episode.key for episode in second.episodes] == [key(number) for number in (5, 4, 3, 2)]
    last = index.page(Filters(), limit=4, cursor=second.next)
    assert [episode.key for episode in last.episodes] == [key(1), key(0)] and last.next is None
    for cursor in ("", "x", "!" * 100, "AAAA"):
        with pytest.raises(BadRequest):
            index.page(Filters(), limit=4, cursor=cursor)


def test_questions_are_answered_for_what_passes_the_filters(backends: Backends) -> None:
    index = backends.index
    for number in range(6):
        index.append(record(number, f"host-{number % 2}"))
    one = Filters(host="host-1")
    assert index.count(one) == 3
    assert index.size_bytes(one) == sum(len(content(number)) for number in (1, 3, 5))
    assert {episode.host_id for episode in index.page(one, limit=9, cursor=None).episodes} == {"host-1"}
    cursor = index.page(one, limit=1, cursor=None).next
    assert index.size_bytes(one, cursor=cursor) == sum(len(content(number)) for number in (1, 3))
    zero, second = index.hosts()
    assert (zero.host_id, zero.episodes, second.host_id) == ("host-0", 3, "host-1")
    assert (second.last_received_at_ns, second.last_episode_id) == (NOW_NS + 5 * SECOND_NS, "e0005")
    assert index.unstamped_since(NOW_NS + 3 * SECOND_NS) == {"host-0": 1, "host-1": 2}
    assert len({episode.key for episode in index.sample(4, random.Random(1))}) <= 4


def test_the_lines_grow_at_their_end_alone(backends: Backends) -> None:
    index = backends.index
    for number in range(3):
        index.append(record(number))
    before = index.open_journal()
    with before.stream:
        text = before.stream.read(before.end)
    index.append(record(3))
    after = index.open_journal()
    with after.stream:
        assert after.stream.read(before.end) == text
        assert Episode.from_line(after.stream.read(after.end - before.end)) == record(3)
    assert after.generation == before.generation and after.modified_ns >= before.modified_ns
    assert [Episode.from_line(line) for line in text.splitlines()] == [record(n) for n in range(3)]

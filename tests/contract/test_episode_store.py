"""`storage.base.EpisodeStore`: publish if absent, and never lose what was published."""

from __future__ import annotations

import os
import time

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import EpisodeBusy
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import EpisodeStore
from tests.contract.places import (
    PATIENCE_SECONDS,
    Place,
    append,
    content,
    in_a_process_that_dies,
    in_processes,
    key,
    sha256,
    store_one,
)


def read(store: EpisodeStore, number: int) -> bytes:
    stored = store.open(key(number))
    assert stored is not None
    with stored:
        return stored.stream.read()


def test_what_was_published_is_there_after_a_restart(place: Place, backends: Backends) -> None:
    before_ns = time.time_ns()
    assert store_one(backends.store, key(1), content(1))
    store = place.open().store
    assert store.exists(key(1))
    stored = store.open(key(1))
    assert stored is not None
    with stored:
        assert stored.size_bytes == len(content(1))
        assert abs(stored.modified_ns - before_ns) < PATIENCE_SECONDS * 1e9
        assert stored.stream.read() == content(1)
        stored.stream.seek(3)
        assert stored.stream.read(4) == content(1)[3:7]
    assert stored.stream.closed
    assert list(store.all_keys()) == [key(1)]
    assert list(store.unsettled()) == []


def test_an_upload_tells_what_was_committed_and_is_nowhere_until_it_is_published(backends: Backends) -> None:
    store = backends.store
    with store.receive(key(1), Stamps()) as incoming:
        append(incoming, b"one half, ")
        append(incoming, b"the other")
        assert incoming.size_bytes == 19
        assert incoming.hexdigest() == sha256(b"one half, the other")
        with incoming.open() as stream:
            assert stream.read() == b"one half, the other"
        assert not store.exists(key(1))
        incoming.sync()
    assert not store.exists(key(1)) and store.open(key(1)) is None
    assert list(store.unsettled()) == list(store.all_keys()) == []


def test_a_taken_name_is_never_taken_over(backends: Backends) -> None:
    assert store_one(backends.store, key(1), content(1))
    assert not store_one(backends.store, key(1), content(2))
    assert read(backends.store, 1) == content(1)
    assert list(backends.store.unsettled()) == []


def publish_all(place: Place, writer: int) -> None:
    store = place.open().store
    for number in range(30):
        store_one(store, key(number), content(1000 * writer + number))


def test_of_writers_at_once_one_wins_each_name_and_its_bytes_are_whole(place: Place) -> None:
    in_processes(publish_all, [(place, 1), (place, 2)])
    store = place.open().store
    assert sorted(store.all_keys()) == [key(number) for number in range(30)]
    for number in range(30):
        assert read(store, number) in (content(1000 + number), content(2000 + number))


def die_with_uploads(place: Place) -> None:
    store = place.open().store
    with store.receive(key(1), Stamps(schema_version=7)) as published:
        append(published, content(1))
        published.sync()
        assert published.publish()
        with store.receive(key(2), Stamps()) as unpublished:
            append(unpublished, content(2))
            unpublished.sync()
            os._exit(9)


def test_what_a_dead_writer_published_is_told_with_its_stamps_and_the_rest_is_gone(place: Place) -> None:
    place.open()
    in_a_process_that_dies(die_with_uploads, place)
    store = place.open().store
    assert list(store.unsettled()) == [key(1)]
    assert not store.exists(key(2))
    with store.hold(key(1), wait_seconds=PATIENCE_SECONDS) as held:
        assert held is not None
        assert held.stamps() == Stamps(schema_version=7)
        assert held.hexdigest() == sha256(content(1)) and held.size_bytes == len(content(1))
        held.republish()
        held.settle()
        assert held.stamps() is None
    assert list(store.unsettled()) == []
    assert read(store, 1) == content(1)


def test_tidying_up_never_touches_a_live_upload(place: Place, backends: Backends) -> None:
    with backends.store.receive(key(1), Stamps()) as incoming:
        append(incoming, content(1))
        assert list(place.open().store.unsettled()) == []
        incoming.sync()
        assert incoming.publish()
        incoming.settle()
    assert read(backends.store, 1) == content(1)


def test_a_held_episode_is_kept_from_others(place: Place, backends: Backends) -> None:
    with backends.store.hold(key(1), wait_seconds=0) as nothing:
        assert nothing is None
    store_one(backends.store, key(1), content(1))
    other = place.open().store
    with backends.store.hold(key(1), wait_seconds=0) as held:
        assert held is not None
        held.make_durable()
        assert held.open().read() == held.open().read() == content(1)
        with pytest.raises(EpisodeBusy), other.hold(key(1), wait_seconds=0.05):
            pass
    with other.hold(key(1), wait_seconds=PATIENCE_SECONDS) as held:
        assert held is not None


def test_what_is_put_aside_frees_its_name_if_it_is_rotten(place: Place, backends: Backends) -> None:
    store = backends.store
    assert not store.quarantine(key(1), lambda held: True)
    store_one(store, key(1), content(1))
    assert not store.quarantine(key(1), lambda held: False)
    assert store.quarantine(key(1), lambda held: held.hexdigest() == sha256(content(1)))
    assert not store.exists(key(1)) and list(store.all_keys()) == []
    assert store_one(store, key(1), content(2))
    assert store.quarantine(key(1), lambda held: True)
    assert place.open().inventory.quarantined() == 2


def test_a_place_in_order_can_be_written(backends: Backends) -> None:
    backends.store.check_writable()
    free_bytes = backends.store.free_bytes()
    assert free_bytes is None or free_bytes > 0

"""`storage.postgres.inventory`: what rows tell when their objects do not, and when there are many."""

from __future__ import annotations

import random
import time

import pytest

from cis490_receiver.backends import Backends
from tests.contract.places import HOUR_NS, NOW_NS, Cluster, database_of, key, store_indexed
from tests.support import objects

MANY = 30_000


def test_an_object_that_is_gone_has_no_length(place: Cluster, backends: Backends) -> None:
    store_indexed(backends, 1)
    [object_key] = objects.names(place.client)
    place.client.delete(object_key)
    assert backends.inventory.size_of(key(1)) is None


def test_of_many_episodes_some_from_here_and_there_are_picked(place: Cluster, backends: Backends) -> None:
    database = database_of(place.url)
    database.write(
        "INSERT INTO episodes SELECT 'host-' || n %% 7, 'e' || n, 'key-' || n, 9, '', n, repeat('x', 300)::bytea"
        " FROM generate_series(1, %s) AS n",
        (MANY,),
    )
    choose = random.Random(1)
    looked_at = backends.inventory.some_keys(MANY, choose, before_ns=NOW_NS)
    assert 100 < len(looked_at) < MANY / 5
    numbers = [int(found.episode_id[1:]) for found in looked_at]
    assert {number * 10 // (MANY + 1) for number in numbers} == set(range(10))
    early = backends.inventory.some_keys(10, choose, before_ns=MANY // 2)
    assert len(early) == 10 and all(int(found.episode_id[1:]) < MANY // 2 for found in early)


def test_what_was_put_aside_is_known_whatever_the_clocks_say(
    backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The receiver's clock was five hours ahead of the database's.
    at_ns = time.time_ns() + 5 * HOUR_NS
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: at_ns)
        store_indexed(backends, 1)
    assert not backends.inventory.set_aside_since(key(1), at_ns)
    backends.store.quarantine(key(1), lambda held: True)
    assert backends.inventory.set_aside_since(key(1), at_ns)
    # Another copy came.
    store_indexed(backends, 1)
    assert not backends.inventory.set_aside_since(key(1), 0)

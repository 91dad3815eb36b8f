"""`storage.base.Inventory`: what can be seen without reading."""

from __future__ import annotations

import random
import time

from cis490_receiver.backends import Backends
from tests.contract.places import HOUR_NS, content, key, store_indexed


def test_lengths_are_told_of_what_is_published(backends: Backends) -> None:
    store_indexed(backends, 1)
    assert backends.inventory.size_of(key(1)) == len(content(1))
    assert backends.inventory.size_of(key(2)) is None
    asked = [key(1), key(2), key(1, "nobody")]
    assert backends.inventory.sizes_of(asked) == {one: backends.inventory.size_of(one) for one in asked}
    assert backends.inventory.sizes_of([]) == {}
    assert backends.inventory.size_of(key(1, "nobody")) is None


def test_what_was_put_aside_is_counted_and_dated(backends: Backends) -> None:
    assert backends.inventory.quarantined() == 0
    store_indexed(backends, 1)
    now_ns = time.time_ns()
    backends.store.quarantine(key(1), lambda held: True)
    assert backends.inventory.quarantined() == 1
    assert backends.inventory.set_aside_since(key(1), now_ns - HOUR_NS)
    assert not backends.inventory.set_aside_since(key(1), now_ns + HOUR_NS)
    assert not backends.inventory.set_aside_since(key(2), 0)


def test_chance_picks_some_that_were_there_by_then(backends: Backends) -> None:
    for number in range(10):
        store_indexed(backends, number, f"host-{number % 3}")
    choose, later = random.Random(1), time.time_ns() + HOUR_NS
    some = backends.inventory.some_keys(4, choose, before_ns=later)
    assert len(set(some)) == 4
    assert set(some) < set(backends.store.all_keys())
    assert len(backends.inventory.some_keys(50, choose, before_ns=later)) == 10
    assert not backends.inventory.some_keys(4, choose, before_ns=later - 2 * HOUR_NS)

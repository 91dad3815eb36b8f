"""`index.postgres.releases`: what is true of releases because any receiver may die, and the tables are far away."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import ReleaseDamaged, StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.releases import ReleaseExists
from cis490_receiver.index.postgres.release_rows import ReleaseRows
from cis490_receiver.index.postgres.releases import PostgresReleases
from cis490_receiver.models import EpisodeKey, wall_time
from cis490_receiver.storage.object_sending import PART_BYTES
from cis490_receiver.upkeep.collect import Collected, collect_tables
from cis490_receiver.withdrawal import Withdrawal
from tests.contract.places import NOW_NS, Cluster, in_a_process_that_dies, record, sha256
from tests.contract.test_releases import about, freeze, table, withdraw
from tests.support import objects, postgres


@pytest.fixture
def filled(backends: Backends) -> Backends:
    for host_id in ("a", "b"):
        backends.index.append(record(1, host_id))
    return backends


def rows(backends: Backends) -> ReleaseRows:
    assert isinstance(backends.releases, PostgresReleases)
    return backends.releases.tables


def collect(place: Cluster, backends: Backends, seconds: float = 0) -> Collected:
    return collect_tables(place.client, rows(backends), older_than_seconds=seconds)


def noted(place: Cluster) -> list[tuple[Any, ...]]:
    return postgres.shared().ask("SELECT object_key FROM releases_being_made", place.url)


def freeze_and_die(place: Cluster) -> None:
    ReleaseRows.add = lambda *_: os._exit(9)  # type: ignore[method-assign,assignment,misc]
    freeze(place.open(), "r")


def test_who_dies_before_the_row_has_named_nothing_and_is_tidied_up_after(
    place: Cluster, filled: Backends
) -> None:
    in_a_process_that_dies(freeze_and_die, place)
    assert filled.releases.find("r") is None and list(filled.releases.all()) == []
    [left] = objects.names(place.client)
    # Nobody who looks for unknown episodes meets with it.
    assert list(place.client.list()) == []
    made = freeze(filled, "r", Filters(host="a"))
    # A maker may be slow, and not dead.
    assert collect(place, filled, 3600) == Collected(0, 0)
    assert collect(place, filled) == Collected(1, 0) == Collected(1 - len(noted(place)), 0)
    assert left not in objects.names(place.client) and len(objects.names(place.client)) == 1
    assert sha256(table(filled, "r")) == made.sha256


def test_of_two_that_wrote_their_tables_one_has_the_name_and_the_other_leaves_nothing(
    place: Cluster, filled: Backends
) -> None:
    both_are_writing, made = threading.Barrier(2), []

    def lines(host_id: str) -> Iterator[bytes]:
        both_are_writing.wait(30)
        yield record(1, host_id).to_line()

    def create(host_id: str) -> None:
        with suppress(ReleaseExists):
            made.append(filled.releases.create("r", Selection(lines(host_id), 1, 9, 1), about()))

    threads = [threading.Thread(target=create, args=(host_id,)) for host_id in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == list(filled.releases.all()) and sha256(table(filled, "r")) == made[0].sha256
    assert noted(place) == [] and len(objects.names(place.client)) == 1


def test_a_maker_that_is_slower_than_who_collects_names_nothing(place: Cluster, filled: Backends) -> None:
    def lines() -> Iterator[bytes]:
        yield record(1, "a").to_line()
        assert collect(place, filled).failed == 0

    with pytest.raises(StorageFailed):
        filled.releases.create("r", Selection(lines(), 1, 9, 1), about())
    assert list(filled.releases.all()) == [] == noted(place) == objects.names(place.client)
    assert freeze(filled, "r").episodes == 2


def test_a_row_whose_answer_was_lost_is_not_added_twice_nor_given_up(
    place: Cluster, filled: Backends
) -> None:
    made = freeze(filled, "r")
    [object_key] = objects.names(place.client)
    rows(filled).add(made, object_key, [])
    assert not rows(filled).give_up(object_key) and collect(place, filled) == Collected(0, 0)
    assert sha256(table(filled, "r")) == made.sha256


def test_a_table_that_is_gone_is_told(place: Cluster, filled: Backends) -> None:
    made = freeze(filled, "r")
    [object_key] = objects.names(place.client)
    withdraw(filled, 1)
    place.client.put_small(object_key, b"less")
    for spoil in (lambda: None, partial(place.client.delete, object_key)):
        spoil()
        with pytest.raises(ReleaseDamaged):
            filled.releases.open("r")
        assert filled.releases.count_withdrawn(made) is None and list(filled.releases.withdrawn(made)) == []
        assert filled.releases.find("r") == made


def test_what_is_withdrawn_of_a_long_table_is_looked_up_by_few_requests(
    place: Cluster, filled: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = record(1, "b").to_line().replace(b'"e0001"', b'"e000000"')
    count = (PART_BYTES + (1 << 20)) // len(example)
    lines = (example.replace(b'"e000000"', b'"e%06d"' % number) for number in range(count))
    made = filled.releases.create("r", Selection(lines, count, count, 1), about())
    assert made.size_bytes > PART_BYTES and sha256(table(filled, "r")) == made.sha256
    opened = filled.releases.open("r")
    assert opened is not None
    with opened.stream as stream:
        stream.seek(-len(example), os.SEEK_END)
        assert json.loads(stream.read())["episode_id"] == f"e{count - 1:06d}"
    gone = [EpisodeKey("b", f"e{number:06d}") for number in (0, count // 3, count // 3 + 1, count - 1)]
    asked: list[int] = []
    read = place.client.read
    monkeypatch.setattr(type(place.client), "read", lambda _, *what: asked.append(what[1]) or read(*what))
    for number, name in enumerate(gone):
        filled.withdrawals.append([spoiled(name), spoiled(EpisodeKey("b", f"f{number}"))])
        asked.clear()
        assert list(filled.releases.withdrawn(made)) == gone[: number + 1]
        assert 0 < len(asked) < 5
        asked.clear()
        assert filled.releases.count_withdrawn(made) == number + 1 and asked == []


def spoiled(name: EpisodeKey) -> Withdrawal:
    return Withdrawal(wall_time(NOW_NS), NOW_NS, name.host_id, name.episode_id, True, "bad", "me")

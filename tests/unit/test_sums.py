"""Every total is what counting the episodes one by one gives, however it is come by."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.filters import Filters
from cis490_receiver.index import sums
from cis490_receiver.index.catalog import Catalog
from cis490_receiver.index.journal import Journal
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.withdrawals import WithdrawalFile
from cis490_receiver.models import DIMENSIONS, Episode, EpisodeKey, wall_time
from cis490_receiver.withdrawal import Withdrawal

HOUR_NS = 3600 * 10**9
FIRST_NS = 1_763_800_000 * 10**9
MIDNIGHT_NS = (FIRST_NS // (24 * HOUR_NS) + 3) * 24 * HOUR_NS
CHOICES = [
    Filters(),
    Filters(host="lab-2"),
    Filters(since=MIDNIGHT_NS),
    Filters(since=MIDNIGHT_NS, until=MIDNIGHT_NS + 24 * HOUR_NS, host="lab-1"),
    Filters(until=MIDNIGHT_NS + 1, episode_type="infected"),
    Filters(benign_profile="idle", since=MIDNIGHT_NS),
    Filters(commit="2" * 40),
    Filters(host="nobody"),
]


def episode(number: int, chance: random.Random) -> Episode:
    ns = FIRST_NS + number * HOUR_NS // 10
    return Episode(
        host_id=f"lab-{chance.randrange(4)}",
        episode_id=f"run-{number}",
        sha256=f"{number:064x}",
        size_bytes=chance.randrange(10**6),
        schema_version=2,
        code_commit=chance.choice([None, "1" * 40, "2" * 40]),
        episode_type=chance.choice([None, "control", "infected"]),
        benign_profile=chance.choice([None, "idle", "db_query"]),
        received_at_wall=wall_time(ns),
        received_at_ns=ns,
    )


def counted(
    episodes: list[Episode], filters: Filters, by: tuple[str, ...]
) -> dict[tuple[str | None, ...], tuple[int, int]]:
    found: Counter[tuple[str | None, ...]] = Counter()
    size: Counter[tuple[str | None, ...]] = Counter()
    for one in filter(filters.passes, episodes):
        record = one.as_dict() | {"day": one.received_at_wall[:10]}
        group = tuple(record[name] for name in by)
        found[group] += 1
        size[group] += one.size_bytes
    return {group: (number, size[group]) for group, number in found.items()}


def write(folder: Path, lines: list[Episode]) -> None:
    with (folder / "index.jsonl").open("ab") as journal:
        journal.write(b"".join(one.to_line() for one in lines))


@pytest.mark.parametrize("in_memory", [True, False])
def test_totals_are_what_counting_gives(tmp_path: Path, in_memory: bool) -> None:
    chance = random.Random(7)
    index = LocalIndex(tmp_path)
    index.prepare()
    lines = [episode(number, chance) for number in range(300 if in_memory else 2500)]
    write(tmp_path, lines)
    index.hosts()
    assert (tmp_path / "catalog.db").exists() is not in_memory
    # Names that come again, with another kind and size: of old ones, twice, the last one, and within one reading.
    again = [episode(number, chance) for number in (3, 3, 299, 1, 0, 3, 260, 2600, 2601, 2600)]
    again += [episode(2602, chance)]
    for part in (again[:1], again[1:]):
        named = [one for one in lines if one.host_id == part[0].host_id][:2]
        write(tmp_path, [*part, *(episode_like(one, chance) for one in named)])
    records = [Episode.from_line(line) for line in (tmp_path / "index.jsonl").read_bytes().splitlines()]
    last = {one.key: one for one in records}
    assert len(last) < len(records)
    for filters in CHOICES:
        for length in range(len(DIMENSIONS) + 1):
            for by in itertools.combinations(DIMENSIONS, length):
                totals = index.totals(filters, by, limit=100_000)
                got = {tuple(total.group.values()): (total.episodes, total.size_bytes) for total in totals}
                assert got == counted([*last.values()], filters, by), (filters, by)


def test_totals_of_what_is_withdrawn_are_what_counting_gives(tmp_path: Path) -> None:
    chance = random.Random(5)
    index = LocalIndex(tmp_path)
    index.prepare()
    lines = [episode(number, chance) for number in range(2400)]
    write(tmp_path, lines)
    index.hosts()
    lines += [episode(number, chance) for number in range(2400, 2500)]
    lines += [episode_like(one, chance) for one in lines[:40]]
    write(tmp_path, lines[2400:])
    records = {one.key: one for one in lines}
    names = {*chance.sample([*records], 300), *(one.key for one in lines[:20])}
    WithdrawalFile(tmp_path).append(
        [
            Withdrawal(wall_time(1), 1, *astuple(key), True, "", "")
            for key in [*names, EpisodeKey("nobody", "e")]
        ]
    )
    choices = [
        {one.key: one for one in records.values() if (one.key in names) == there} for there in (True, False)
    ]
    for filters, by in itertools.product(CHOICES, [(), ("host_id",), ("day", "host_id"), DIMENSIONS]):
        for which, of in zip(("only", "exclude"), choices, strict=True):
            totals = index.totals(filters.but(withdrawn=which), by, limit=100_000)
            got = {tuple(total.group.values()): (total.episodes, total.size_bytes) for total in totals}
            assert got == counted([*of.values()], filters, tuple(by)), (filters, by, which)
    index.close()


def episode_like(other: Episode, chance: random.Random) -> Episode:
    """The name of `other`, and something else in all else."""
    fresh = episode(int(other.episode_id.removeprefix("run-")) + 40, chance).as_dict()
    return Episode(**fresh | {"host_id": other.host_id, "episode_id": other.episode_id})


def test_what_a_page_asks_costs_groups_not_episodes(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").touch()
    catalog = Catalog(tmp_path / "catalog.db", Journal(tmp_path / "index.jsonl"))
    day = MIDNIGHT_NS
    for filters, by in [
        (Filters(), ("host_id", "episode_type", "benign_profile")),
        (Filters(host="lab-1"), ("day", "episode_type")),
        (Filters(since=day, until=day, episode_type="control"), ("day", "host_id")),
        (Filters(since=day, benign_profile="idle"), ("day", "episode_type")),
        (Filters(withdrawn="only"), ("host_id",)),
    ]:
        rows, where, values = sums.source(filters, by)
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        plan = _plan(catalog, f"SELECT {by[0]}, sum(episodes) FROM {rows} {condition} GROUP BY 1", values)
        assert ("sums_of" in plan or filters.withdrawn == "only") and not re.search(
            r"SCAN \S*episodes", plan
        ), plan


def _plan(catalog: Catalog, sql: str, values: list[Any]) -> str:
    steps = catalog.read(
        lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    )
    return "\n".join(step[-1] for step in steps)


def test_arrivals_are_counted_by_host_and_step(tmp_path: Path) -> None:
    chance = random.Random(3)
    index = LocalIndex(tmp_path)
    index.prepare()
    lines = [episode(number, chance) for number in range(200)]
    write(tmp_path, lines)
    expected = {f"lab-{number}": [0] * 5 for number in range(4)}
    for one in lines:
        step = (one.received_at_ns - FIRST_NS - HOUR_NS) // HOUR_NS
        if 0 <= step < 5:
            expected[one.host_id][step] += 1
    assert index.arrivals(FIRST_NS + HOUR_NS, HOUR_NS, 5) == expected

"""The training set's make-up, as the data page shows it: sums put in order, so that imbalance is seen."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cis490_receiver.index.base import Total
from cis490_receiver.stamps import DECLARED

_ALLOWED: Final = {declared.name: declared.grammar.allowed for declared in DECLARED}
#: The series of the charts; None are the episodes that say no type.
TYPES: Final = (*_ALLOWED["episode_type"], None)
PROFILES: Final = (*_ALLOWED["benign_profile"], None)


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host's share: episodes of each of `TYPES`, and in all."""

    host_id: str
    of_types: tuple[int, ...]
    episodes: int
    size_bytes: int


def kinds(totals: Iterable[Total]) -> dict[str | None, dict[str | None, int]]:
    """How many episodes there are of each profile, then type."""
    table: dict[str | None, dict[str | None, int]] = {
        profile: dict.fromkeys(TYPES, 0) for profile in PROFILES
    }
    for total in totals:
        # A record of a later version may have a value that this one does not know: it counts as none.
        profile, kind = (
            value if value in _ALLOWED[name] else None
            for name, value in ((name, total.group[name]) for name in ("benign_profile", "episode_type"))
        )
        table[profile][kind] += total.episodes
    return table


def by_type(totals: Iterable[Total], name: str) -> dict[str, tuple[int, ...]]:
    """Episodes of each of `TYPES`, for each value of the dimension `name`."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(TYPES))
    for total in totals:
        kind = total.group["episode_type"]
        place = TYPES.index(kind) if kind in TYPES else len(TYPES) - 1
        found[str(total.group[name])][place] += total.episodes
    return {value: tuple(counts) for value, counts in found.items()}


def host_rows(totals: Sequence[Total]) -> list[HostRow]:
    """A row for each host, the one with the most episodes first."""
    counts = by_type(totals, "host_id")
    sizes: defaultdict[str, int] = defaultdict(int)
    for total in totals:
        sizes[str(total.group["host_id"])] += total.size_bytes
    rows = [HostRow(host, of_types, sum(of_types), sizes[host]) for host, of_types in counts.items()]
    return sorted(rows, key=lambda row: (-row.episodes, row.host_id))


def last_days(end: str, count: int) -> list[str]:
    """The `count` days up to `end`, all ``YYYY-MM-DD``, oldest first."""
    last = dt.date.fromisoformat(end)
    return [(last - dt.timedelta(days=back)).isoformat() for back in reversed(range(count))]


def remarks(table: Mapping[str | None, Mapping[str | None, int]], hosts: Sequence[HostRow]) -> list[str]:
    """What a reader should know of the balance, in sentences."""
    types = {kind: sum(row[kind] for row in table.values()) for kind in TYPES}
    profiles = {profile: sum(row.values()) for profile, row in table.items()}
    return [
        *_balance("type", types),
        *_balance("profile", profiles),
        *_hosts(hosts),
        *_unsaid("type", types),
        *_unsaid("profile", profiles),
    ]


def _balance(word: str, counts: Mapping[str | None, int]) -> Iterator[str]:
    said = {name: count for name, count in counts.items() if name is not None and count}
    missing = [name for name in counts if name is not None and name not in said]
    if missing:
        yield f"No episode of {word} {', '.join(missing)}."
    if len(said) < 2:
        return
    most, least = max(said, key=lambda name: said[name]), min(said, key=lambda name: said[name])
    times = said[most] / said[least]
    if times < 1.05:
        yield f"Every {word}{' that there is' if missing else ''} has about as many episodes."
    else:
        yield f"{said[most]:,} {most} to {said[least]:,} {least}: {times:.1f} times as many."


def _hosts(hosts: Sequence[HostRow]) -> Iterator[str]:
    if len(hosts) < 2:
        return
    share = hosts[0].episodes / sum(row.episodes for row in hosts)
    yield (
        f"{hosts[0].host_id} has the most episodes, {share:.1%} of them; "
        f"of {len(hosts)} hosts an even share is {1 / len(hosts):.1%}."
    )


def _unsaid(word: str, counts: Mapping[str | None, int]) -> Iterator[str]:
    if counts[None]:
        yield f"{counts[None]:,} episodes say no {word} ({counts[None] / sum(counts.values()):.1%})."

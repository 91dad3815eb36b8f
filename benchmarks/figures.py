"""Figures, round by round, and the table made of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.servers import OURS, PEERS

#: The unit of a figure that compares a peer with itself.
RATIO = "×"


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured, and where."""

    name: str
    place: str
    text: str
    unit: str
    more_is_better: bool


@dataclass(slots=True)
class Figures:
    """Every value of a run: a list, one a round, for each row and peer."""

    values: dict[Row, dict[str, list[float]]] = field(default_factory=dict)
    #: The largest share of one CPU that the load generator took, for each row and peer.
    client_share: dict[Row, dict[str, float]] = field(default_factory=dict)

    def add(self, row: Row, peer: str, value: float, *, client_share: float = 0.0) -> None:
        """Note one round's value."""
        self.values.setdefault(row, {}).setdefault(peer, []).append(value)
        shares = self.client_share.setdefault(row, {})
        shares[peer] = max(shares.get(peer, 0.0), client_share)

    def ratios(self, row: Row, peer: str) -> list[float]:
        """How many times better than `peer` the receiver was, round by round; none without both."""
        if row.unit == RATIO:
            return []
        ours, theirs = self.values[row].get(OURS, []), self.values[row].get(peer, [])
        pairs = zip(ours, theirs, strict=False)
        return [
            mine / other if row.more_is_better else other / mine for mine, other in pairs if mine and other
        ]

    def as_list(self) -> list[dict[str, Any]]:
        """The rows for JSON."""
        return [
            {
                "name": row.name,
                "place": row.place,
                "text": row.text,
                "unit": row.unit,
                "more_is_better": row.more_is_better,
                "peers": {peer: _summary(values) for peer, values in by_peer.items()},
                "ours_better_by": {
                    peer: _summary(ratios)
                    for peer in by_peer
                    if peer != OURS and (ratios := self.ratios(row, peer))
                },
                "client_cpu_share": self.client_share[row],
            }
            for row, by_peer in self.values.items()
        ]

    def busiest_client(self, peer: str) -> float:
        """The largest share of one CPU that the load generator took against `peer`."""
        return max((shares.get(peer, 0.0) for shares in self.client_share.values()), default=0.0)

    def table(self) -> str:
        """The rows as text that is Markdown too."""
        head = ["what", "unit", "place", *PEERS]
        head += [f"ours : {peer}" for peer in PEERS if peer != OURS]
        lines = [head, ["---"] * len(head)]
        for row, by_peer in self.values.items():
            cells = [row.text, row.unit, row.place]
            cells += [_cell(by_peer.get(peer, [])) for peer in PEERS]
            cells += [_cell(self.ratios(row, peer), "×") for peer in PEERS if peer != OURS]
            lines.append(cells)
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        return "\n".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in lines
        )


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }


def _cell(values: Sequence[float], prefix: str = "") -> str:
    if not values:
        return "–"
    middle = prefix + _short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

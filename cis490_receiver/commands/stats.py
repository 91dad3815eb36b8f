"""``cis490-receiver stats``: the training set's table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import click

from cis490_receiver import page
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import load
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import Total
from cis490_receiver.progress import on_standard_error
from cis490_receiver.stamps import KIND

#: More rows than a table can have.
_ALL: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    episodes: int
    size_bytes: int


@click.command("stats", epilog=example("cis490-receiver stats --days 30"))
@click.option(
    "--days", type=click.IntRange(1, 3660), default=14, show_default=True, help="How many days to show."
)
@quiet_option
@json_option
def command(days: int, quiet: bool, as_json: bool) -> None:
    """Print how many episodes and GB there are, by host, by type and profile, and by day (UTC)."""
    index = use_index(load()).index
    with on_standard_error(quiet=quiet) as progress:
        index.tell_progress(progress)
        tables = {
            "by_host": _rows(index.totals(Filters(), ["host_id"], limit=_ALL)),
            "by_type": _rows(index.totals(Filters(), KIND, limit=_ALL)),
            "by_day": _rows(index.totals(Filters(), ["day"], limit=_ALL)[-days:]),
        }
    if as_json:
        click.echo(
            json.dumps({name: [asdict(row) for row in rows] for name, rows in tables.items()}, indent=2)
        )
        return
    for title, rows in (("host", "by_host"), ("type and profile", "by_type"), ("day", "by_day")):
        click.echo(_table(title, tables[rows]))


def _rows(totals: Sequence[Total]) -> list[_Row]:
    return [
        _Row(" ".join(value or "-" for value in total.group.values()), total.episodes, total.size_bytes)
        for total in totals
    ]


def _table(title: str, rows: list[_Row]) -> str:
    width = max([len(title), *(len(row.name) for row in rows)])
    lines = [f"{title.ljust(width)}  {'episodes':>10}  {'size':>10}"]
    lines += [f"{row.name.ljust(width)}  {row.episodes:>10}  {page.size(row.size_bytes):>10}" for row in rows]
    total = sum(row.episodes for row in rows), sum(row.size_bytes for row in rows)
    lines.append(f"{'all'.ljust(width)}  {total[0]:>10}  {page.size(total[1]):>10}\n")
    return "\n".join(lines)

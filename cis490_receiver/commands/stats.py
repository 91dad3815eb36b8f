"""``cis490-receiver stats``: the training set's table."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from cis490_receiver import page
from cis490_receiver.backends import use_backends
from cis490_receiver.commands.shared import index_folder, json_option, quiet_option
from cis490_receiver.config import load
from cis490_receiver.index.local import Total
from cis490_receiver.progress import on_standard_error


@click.command("stats")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=14, show_default=True, help="How many days to show."
)
@quiet_option
@json_option
def command(days: int, quiet: bool, as_json: bool) -> None:
    """Print how many episodes and GB there are, by host, by type and profile, and by day (UTC)."""
    settings = load()
    index_folder(settings)
    _, index = use_backends(settings)
    with on_standard_error(quiet=quiet) as progress:
        index.tell_progress(progress)
        tables = {
            "by_host": index.totals_by_host(),
            "by_type": index.totals_by_type(),
            "by_day": index.totals_by_day(days),
        }
    if as_json:
        click.echo(
            json.dumps({name: [asdict(row) for row in rows] for name, rows in tables.items()}, indent=2)
        )
        return
    for title, rows in (("host", "by_host"), ("type and profile", "by_type"), ("day", "by_day")):
        click.echo(_table(title, tables[rows]))


def _table(title: str, rows: list[Total]) -> str:
    width = max([len(title), *(len(row.name) for row in rows)])
    lines = [f"{title.ljust(width)}  {'episodes':>10}  {'size':>10}"]
    lines += [f"{row.name.ljust(width)}  {row.episodes:>10}  {page.size(row.size_bytes):>10}" for row in rows]
    total = sum(row.episodes for row in rows), sum(row.size_bytes for row in rows)
    lines.append(f"{'all'.ljust(width)}  {total[0]:>10}  {page.size(total[1]):>10}\n")
    return "\n".join(lines)

"""``cis490-receiver export``: the index for a notebook."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from itertools import islice
from typing import IO, Any, Final

import click

from cis490_receiver.backends import use_backends
from cis490_receiver.commands.filters import chosen, filter_options
from cis490_receiver.commands.shared import data_folder
from cis490_receiver.config import load
from cis490_receiver.models import Episode, Filters

COLUMNS: Final = [item.name for item in fields(Episode)]
_BATCH: Final = 10_000


@click.command("export")
@filter_options
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True
)
@click.option(
    "-o", "--output", type=click.File("wb", lazy=False), default="-", help="Default: standard output."
)
def command(form: str, output: IO[bytes], **given: str | None) -> None:
    """Write the index's records, newest first, as CSV, JSON lines or Parquet (extra: parquet)."""
    settings = load()
    data_folder(settings)
    _, index = use_backends(settings)
    episodes = iterate(index, chosen(given))
    if form == "parquet":
        _write_parquet(output, episodes)
    else:
        _write_text(output, episodes, form)


def iterate(index: Any, filters: Filters) -> Iterator[Episode]:
    """Every episode that passes `filters`, newest first, a page in memory at a time."""
    cursor = None
    while True:
        page = index.page(filters, limit=1000, cursor=cursor)
        yield from page.episodes
        if page.next is None:
            return
        cursor = page.next


def _write_text(output: IO[bytes], episodes: Iterator[Episode], form: str) -> None:
    text = io.TextIOWrapper(output, encoding="utf-8", newline="")
    if form == "jsonl":
        for episode in episodes:
            text.write(json.dumps(asdict(episode), separators=(",", ":")) + "\n")
    else:
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        for episode in episodes:
            writer.writerow(asdict(episode))
    text.flush()
    # The stream below is closed by whoever opened it.
    text.detach()


def _write_parquet(output: IO[bytes], episodes: Iterator[Episode]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        click.echo("export: Parquet needs pyarrow: pip install 'cis490-receiver[parquet]'", err=True)
        sys.exit(2)
    whole = ("size_bytes", "schema_version", "received_at_ns")
    schema = pa.schema([(name, pa.int64() if name in whole else pa.string()) for name in COLUMNS])
    with parquet.ParquetWriter(output, schema) as writer:
        while batch := [asdict(episode) for episode in islice(episodes, _BATCH)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))

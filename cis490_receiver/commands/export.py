"""``cis490-receiver export``: the index for a notebook."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import IO, Final

import click

from cis490_receiver.commandline.failures import EXIT_USAGE, Failure
from cis490_receiver.commandline.options import example, quiet_option
from cis490_receiver.commands.filters import chosen, filter_options
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import load
from cis490_receiver.files import atomic
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.models import EPISODE_FIELDS, Episode
from cis490_receiver.progress import SILENT, Progress, on_standard_error

_ROW: Final = attrgetter(*EPISODE_FIELDS)
_BATCH: Final = 10_000

_Write = Callable[[IO[bytes], Iterable[Episode]], int]


@click.command("export", epilog=example("cis490-receiver export --since 7d --output last-week.csv"))
@filter_options
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    help="Default: standard output.",
)
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print what was written to OUTPUT as one JSON object.")
def command(form: str, output: Path, quiet: bool, as_json: bool, **given: str | None) -> None:
    """Write the index's records, newest first, as CSV, JSON lines or Parquet (extra: parquet).

    A file is there when it is whole; one that was there before stays until then.
    """
    index = use_index(load()).index
    filters = chosen(given)
    write = _parquet_writer() if form == "parquet" else partial(_write_text, form=form)
    to_terminal = str(output) == "-" and sys.stdout is not None and sys.stdout.isatty()
    with on_standard_error(quiet=quiet) as progress:
        index.tell_progress(progress)
        # Whatever stands in the way of reading is met here, before anything is written.
        total = index.count(filters)
        # Records that scroll by tell enough.
        told = SILENT if to_terminal else progress
        told.begin("writing", total, "episodes")
        count = _write_to(output, write, _told(iterate(index, filters), told))
    if as_json and str(output) != "-":
        click.echo(json.dumps({"output": str(output), "format": form, "episodes": count}))


def _write_to(output: Path, write: _Write, episodes: Iterator[Episode]) -> int:
    if str(output) == "-":
        return write(_standard_output(), episodes)
    with _whole_file(output) as stream:
        return write(stream, episodes)


def _told(episodes: Iterator[Episode], progress: Progress) -> Iterator[Episode]:
    for episode in episodes:
        yield episode
        progress.advance()


def iterate(index: EpisodeIndex, filters: Filters) -> Iterator[Episode]:
    """Every episode that passes `filters`, newest first, a page in memory at a time."""
    cursor = None
    while True:
        page = index.page(filters, limit=1000, cursor=cursor)
        yield from page.episodes
        if page.next is None:
            return
        cursor = page.next


def _standard_output() -> IO[bytes]:
    if sys.stdout is None:
        raise Failure("standard output is closed; name a file with --output", "bad-usage", EXIT_USAGE)
    return sys.stdout.buffer


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes are in `path` when all of them were written, and nowhere when they were not."""
    if path.exists() and not path.is_file():
        # A pipe or a device is no place to put a name.
        with path.open("wb") as stream:
            yield stream
        return
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}", param_hint="--output")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), atomic.FILE_MODE)
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _write_text(output: IO[bytes], episodes: Iterable[Episode], form: str) -> int:
    text = io.TextIOWrapper(output, encoding="utf-8", newline="")
    count = 0
    try:
        writer = csv.writer(text)
        if form == "csv":
            writer.writerow(EPISODE_FIELDS)
        for row in map(_ROW, episodes):
            count += 1
            if form == "csv":
                writer.writerow(row)
            else:
                text.write(
                    json.dumps(dict(zip(EPISODE_FIELDS, row, strict=True)), separators=(",", ":")) + "\n"
                )
    finally:
        # The stream below is closed by whoever opened it.
        text.detach()
    return count


def _parquet_writer() -> _Write:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise Failure(
            "Parquet needs pyarrow: pip install 'cis490-receiver[parquet]'", "extra-missing", EXIT_USAGE
        ) from None
    schema = pa.schema(
        [(item.name, pa.int64() if item.type == "int" else pa.string()) for item in fields(Episode)]
    )

    def write(output: IO[bytes], episodes: Iterable[Episode]) -> int:
        remaining, count = iter(episodes), 0
        with parquet.ParquetWriter(output, schema) as writer:
            while batch := [episode.as_dict() for episode in islice(remaining, _BATCH)]:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
        return count

    return write

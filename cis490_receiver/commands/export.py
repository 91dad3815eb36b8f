"""``cis490-receiver export``: the index for a notebook."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from cis490_receiver import protocol
from cis490_receiver.commandline.failures import EXIT_USAGE, Failure
from cis490_receiver.commandline.options import example, quiet_option
from cis490_receiver.commands import tables
from cis490_receiver.commands.filters import chosen, filter_options
from cis490_receiver.commands.shared import use_index
from cis490_receiver.commands.tables import Record, Write
from cis490_receiver.config import load
from cis490_receiver.configuration.keys import parse_address
from cis490_receiver.files import atomic
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.progress import SILENT, Progress, on_standard_error


@click.command("export", epilog=example("cis490-receiver export --since 7d --output last-week.csv"))
@filter_options
@click.option("--format", "form", type=click.Choice(tables.FORMATS), default="csv", show_default=True)
@click.option(
    "--url",
    help="The receiver's address, https://HOST, before the path in each record's `url`. Default: `public_url` of the "
    "configuration; without one, `url` is the path alone.",
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
def command(
    form: str, url: str | None, output: Path, quiet: bool, as_json: bool, **given: str | None
) -> None:
    """Write the index's records, newest first, as CSV, JSON lines or Parquet (extra: parquet).

    Each has the fields of its index line and the `url` of the episode, and with --withdrawn include or only, when and
    why it was withdrawn. In Parquet, times are timestamps (UTC).

    A file is there when it is whole; one that was there before stays until then.
    """
    settings = load()
    index = use_index(settings).index
    filters = chosen(given)
    base = _address(url) if url is not None else settings.public_url or ""
    write = tables.writer(form, tables.columns(filters))
    to_terminal = str(output) == "-" and sys.stdout is not None and sys.stdout.isatty()
    with on_standard_error(quiet=quiet) as progress:
        index.tell_progress(progress)
        # Whatever stands in the way of reading is met here, before anything is written.
        total = index.count(filters)
        # Records that scroll by tell enough.
        told = SILENT if to_terminal else progress
        told.begin("writing", total, "episodes")
        count = _write_to(output, write, _told(records(index, filters, base), told))
    if as_json and str(output) != "-":
        click.echo(json.dumps({"output": str(output), "format": form, "episodes": count}))


def _write_to(output: Path, write: Write, found: Iterator[Record]) -> int:
    if str(output) == "-":
        return write(_standard_output(), found)
    with _whole_file(output) as stream:
        return write(stream, found)


def _told(found: Iterator[Record], progress: Progress) -> Iterator[Record]:
    for record in found:
        yield record
        progress.advance()


def records(index: EpisodeIndex, filters: Filters, base: str) -> Iterator[Record]:
    """The record of every episode that passes `filters`, newest first, a page in memory at a time; its ``url`` begins
    with `base`, the receiver's address or nothing."""
    cursor = None
    while True:
        page = index.page(filters, limit=1000, cursor=cursor)
        for record in page.records(filters):
            record["url"] = base + protocol.episode_path(record["host_id"], record["episode_id"])
            yield record
        if page.next is None:
            return
        cursor = page.next


def _address(text: str) -> str:
    try:
        return parse_address(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--url") from None


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

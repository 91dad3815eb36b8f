"""The formats in which records are written for a notebook: CSV, JSON lines, Parquet.

A record is a dict with the names of `columns`, in their order, and the values as they stand in JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any, Final

from cis490_receiver.commandline.failures import EXIT_USAGE, Failure
from cis490_receiver.filters import Filters
from cis490_receiver.models import EPISODE_FIELDS
from cis490_receiver.trainer.columns import arrow_schema, value_of

FORMATS: Final = ("csv", "jsonl", "parquet")
_BATCH: Final = 10_000

Record = dict[str, Any]
#: Writes records to a stream, and gives how many there were.
Write = Callable[[IO[bytes], Iterable[Record]], int]


def columns(filters: Filters) -> tuple[str, ...]:
    """The names that the records chosen by `filters` have."""
    withdrawn = () if filters.withdrawn == "exclude" else ("withdrawn_at_wall", "withdrawn_why")
    return (*EPISODE_FIELDS, *withdrawn, "url")


def writer(form: str, names: tuple[str, ...]) -> Write:
    """What writes the format `form`, one of `FORMATS`, with these columns.

    Raises:
        Failure: the library that it needs is not installed.
    """
    if form == "parquet":
        return _parquet(names)
    return _csv(names) if form == "csv" else _json_lines


def _csv(names: tuple[str, ...]) -> Write:
    def write(output: IO[bytes], records: Iterable[Record]) -> int:
        count = 0
        with _text(output) as text:
            rows = csv.writer(text)
            rows.writerow(names)
            for record in records:
                rows.writerow(record.values())
                count += 1
        return count

    return write


def _json_lines(output: IO[bytes], records: Iterable[Record]) -> int:
    count = 0
    with _text(output) as text:
        for record in records:
            text.write(json.dumps(record, separators=(",", ":")) + "\n")
            count += 1
    return count


@contextmanager
def _text(output: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(output, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        # The stream below is closed by whoever opened it.
        text.detach()


def _parquet(names: tuple[str, ...]) -> Write:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise Failure(
            "Parquet needs pyarrow: pip install 'cis490-receiver[parquet]'", "extra-missing", EXIT_USAGE
        ) from None
    schema = arrow_schema(names)

    def write(output: IO[bytes], records: Iterable[Record]) -> int:
        remaining, count = iter(records), 0
        with parquet.ParquetWriter(output, schema) as table:
            while batch := list(islice(remaining, _BATCH)):
                values = {name: [value_of(name, record[name]) for record in batch] for name in names}
                table.write_table(pa.table(values, schema=schema))
                count += len(batch)
        return count

    return write

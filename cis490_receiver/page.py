"""Text for a person: wrapped to the terminal that shows it, and left in one line for a pipe or a file."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Final, TextIO

import click

_DEFAULT_COLUMNS: Final = 80
#: A text that has less room than this beside its label continues further left.
_MIN_COLUMNS: Final = 30
_INDENT: Final = 4
_PREFIXES: Final = ("", "k", "M", "G", "T", "P")


def say(text: str, *, label: str = "", err: bool = False) -> None:
    """Print `label` and `text`. Where a terminal shows them, `text` is wrapped and goes on beneath its beginning; words
    are never broken, so that a command or a path can be copied."""
    columns = _columns(sys.stderr if err else sys.stdout)
    if columns is not None:
        text = _wrapped(text, len(click.unstyle(label)), columns)
    click.echo(f"{label}{text}".rstrip(), err=err)


def _columns(stream: TextIO | None) -> int | None:
    """The width of the terminal behind `stream`; None where there is none."""
    if stream is None or not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and 0 < int(told) < 10_000:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_COLUMNS
    except OSError:
        return _DEFAULT_COLUMNS


def _wrapped(text: str, label_columns: int, columns: int) -> str:
    hang = label_columns if columns - label_columns >= _MIN_COLUMNS else _INDENT
    lines = textwrap.wrap(
        text,
        max(columns, _INDENT + 1),
        initial_indent=" " * label_columns,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)[label_columns:]


def size(count: float) -> str:
    """A number of bytes in the unit that suits it, of powers of 1000: ``354 B``, ``12.3 MB``."""
    power = 0
    while count >= 1000 and power < len(_PREFIXES) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.{1 if power and count < 100 else 0}f} {_PREFIXES[power]}B"

"""A bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

import click

_WIDTH: Final = 24
_EVERY_SECONDS: Final = 0.1


def bar(label: str, size_bytes: int) -> Callable[[int], None]:
    """A bar on standard error for `size_bytes`; give the result the bytes of each piece. It takes its line away when it
    is full."""
    if not sys.stderr.isatty():
        return lambda _bytes: None
    done, shown_at, started = 0, 0.0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, shown_at
        done += count
        now = time.monotonic()
        if done >= size_bytes:
            click.echo("\r\x1b[K", nl=False, err=True)
        elif now - shown_at >= _EVERY_SECONDS:
            shown_at = now
            filled = _WIDTH * done // max(size_bytes, 1)
            rate = done / max(now - started, 0.001) / 1e6
            line = f"\r{label} [{'#' * filled:<{_WIDTH}}] {100 * done // max(size_bytes, 1):3d}% {rate:6.1f} MB/s\x1b[K"
            click.echo(line, nl=False, err=True)

    return advance

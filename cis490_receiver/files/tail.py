"""Read the newest lines of a file that may be long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_STEP: Final = 64 * 1024


def lines_backwards(path: Path) -> Iterator[bytes]:
    """The whole lines of `path`, without their newlines, the last one first. What follows the last newline
    is a line that is being written, and is left out. A file that is absent has no lines."""
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below, when the reader has enough
    except FileNotFoundError:
        return
    with stream:
        end = os.fstat(stream.fileno()).st_size
        # Everything from the first byte of `rest` on was read; its first line may be incomplete.
        rest = b""
        first = True
        while end > 0:
            start = max(0, end - _STEP)
            piece = os.pread(stream.fileno(), end - start, start) + rest
            end = start
            rest, *lines = piece.split(b"\n")
            if first and lines:
                lines.pop()
                first = False
                if not lines:
                    continue
            yield from reversed(lines)
        if not first:
            yield rest

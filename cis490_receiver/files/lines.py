"""Read the lines of a file that may be long, and may be damaged, in memory that does not grow with either.

A line is what ends with a newline; what follows the last one is being written, or was torn by a crash. No line that
this program writes comes near `LINE_LIMIT`, so of a longer one, such as a hole in the middle of a file, only the
beginning is ever given or kept in memory, and holes are passed over without reading them (lseek(2), SEEK_DATA).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

#: The longest line that is given whole, in bytes, without its newline.
LINE_LIMIT: Final = 64 << 10
_STEP: Final = 64 << 10
_FORWARD_STEP: Final = 512 << 10


def end_of_lines(fd: int, before: int | None = None) -> int:
    """The offset just behind the last newline of a file, or of its first `before` bytes; 0 when there is none. Leaves
    the file's position alone."""
    end = os.fstat(fd).st_size if before is None else before
    while end > 0:
        start = max(0, end - _STEP)
        piece = os.pread(fd, end - start, start)
        found = piece.rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start if any(piece) else _start_of_hole(fd, start)
    return 0


def batches(fd: int, start: int, end: int) -> Iterator[list[bytes]]:
    """The whole lines from offset `start`, where one begins, to `end`, in their order and without their newlines: as
    many at a time as about 512 KiB hold. Of a line longer than `LINE_LIMIT` only the first `LINE_LIMIT` bytes are
    given. Leaves the file's position alone."""
    return (lines for _, lines in placed_batches(fd, start, end))


def placed_batches(fd: int, start: int, end: int) -> Iterator[tuple[list[int], list[bytes]]]:
    """`batches`, and for each line the offset at which it begins."""
    rest = b""
    begin = start
    while start < end:
        if len(rest) >= LINE_LIMIT:
            start = min(end, _next_data(fd, start))
        piece = os.pread(fd, min(_FORWARD_STEP, end - start), start)
        if not piece:
            return
        first, *others = piece.split(b"\n")
        joined = (rest + first[:LINE_LIMIT])[:LINE_LIMIT]
        second = start + len(first) + 1
        start += len(piece)
        if not others:
            rest = joined
            continue
        *whole, rest = others
        *offsets, following = accumulate((len(line) + 1 for line in whole), initial=second)
        yield (
            [begin, *offsets],
            [joined, *(line if len(line) <= LINE_LIMIT else line[:LINE_LIMIT] for line in whole)],
        )
        begin = following
        rest = rest[:LINE_LIMIT]


def lines_between(fd: int, start: int, end: int) -> Iterator[bytes]:
    """`batches`, a line at a time."""
    for batch in batches(fd, start, end):
        yield from batch


def lines_backwards(path: Path) -> Iterator[bytes]:
    """`lines_before` the end of `path`, without their offsets. A file that is absent has no lines."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for _, line in lines_before(fd, os.fstat(fd).st_size):
            yield line
    finally:
        os.close(fd)


def lines_before(fd: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Offset and text, without its newline, of each whole line that lies before the offset `end`, the last one first. A
    line longer than `LINE_LIMIT` is left out. Leaves the file's position alone."""
    end = end_of_lines(fd, end) - 1
    if end < 0:
        return
    # The end of a line whose beginning was not read yet; None when it is too long to be given.
    rest: bytes | None = b""
    while end > 0:
        start = max(0, end - _STEP)
        first, *others = os.pread(fd, end - start, start).split(b"\n")
        offset = end + 1
        for beginning in reversed(others):
            offset -= len(beginning) + 1
            line = _joined(beginning, rest)
            if line is not None:
                yield offset, line
            rest = b""
        rest = _joined(first, rest)
        end = start
    if rest is not None:
        yield 0, rest


def _joined(beginning: bytes, rest: bytes | None) -> bytes | None:
    """A line in two parts; None when it is too long."""
    if rest is None or len(beginning) + len(rest) > LINE_LIMIT:
        return None
    return beginning + rest


def _start_of_hole(fd: int, end: int) -> int:
    """How far back from `end` there is nothing but a hole, or a part of that; `end` when there is none."""
    step = _STEP
    while end > 0 and _next_data(fd, max(0, end - step)) >= end:
        end = max(0, end - step)
        step *= 2
    return end


def _next_data(fd: int, offset: int) -> int:
    """Where the next bytes at or behind `offset` are that are no hole; the file's end when there are none."""
    position = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as exc:
        # ENXIO: nothing but a hole up to the end. Others: a file system that cannot tell.
        return os.fstat(fd).st_size if exc.errno == errno.ENXIO else offset
    finally:
        os.lseek(fd, position, os.SEEK_SET)

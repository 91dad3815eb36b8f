"""The lines of alerts.jsonl, newest first, a page at a time.

A cursor is the inode and the offset of a page's last line, so it stays good while alerts are raised and when the file
is put aside.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cis490_receiver.errors import BadRequest
from cis490_receiver.files.lines import lines_before
from cis490_receiver.state.base.alerts import Alert, AlertPage


def page(files: Sequence[Path], *, limit: int, cursor: str | None) -> AlertPage:
    """See `state.base.alerts.AlertLog.page`; `files` are the newer one first.

    Raises:
        BadRequest: `cursor` is none that this gave.
        OSError: they cannot be read.
    """
    after = _decode(cursor) if cursor is not None else None
    found: list[Alert] = []
    place: tuple[int, int] | None = None
    for inode, offset, line in _lines(files, after):
        if len(found) == limit:
            return AlertPage(found, _encode(place) if place else cursor)
        with contextlib.suppress(ValueError):
            found.append(Alert.from_line(line))
            place = inode, offset
    return AlertPage(found, None)


def _lines(files: Sequence[Path], after: tuple[int, int] | None) -> Iterator[tuple[int, int, bytes]]:
    """Inode, offset and text of each line before the place `after`, the last one first."""
    for path in files:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            status = os.fstat(fd)
            if after is not None and status.st_ino != after[0]:
                continue
            end = status.st_size if after is None else min(after[1], status.st_size)
            after = None
            for offset, line in lines_before(fd, end):
                yield status.st_ino, offset, line
        finally:
            os.close(fd)


def _encode(place: tuple[int, int]) -> str:
    return base64.urlsafe_b64encode(b"%d.%d" % place).decode("ascii").rstrip("=")


def _decode(cursor: str) -> tuple[int, int]:
    try:
        text = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        inode, _, offset = text.partition(b".")
        if inode.isdigit() and offset.isdigit() and len(text) < 44:
            return int(inode), int(offset)
    except (ValueError, binascii.Error):
        pass
    raise BadRequest("bad cursor; take it from the `next` of the page before")

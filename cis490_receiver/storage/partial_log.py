"""``incoming/<upload id>~upload``, later ``receipts/<upload id>~upload``: what is known of an upload in pieces.

The first line says what it was made with. Each further one says how many bytes were on stable storage before the line
was, or how it ended, and when. The last whole line holds; one that a crash tore is cut out by the next writer.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from cis490_receiver.files.lines import LINE_LIMIT, end_of_lines
from cis490_receiver.storage import partial_lines
from cis490_receiver.storage.base.partials import PartialUpload

SUFFIX: Final = "~upload"
#: The folder, below the data folder, of the logs that have a verdict.
RECEIPTS: Final = "receipts"
_NAME: Final = re.compile(r"([0-9a-f]{32})~upload")
#: More than any line but the first has, and a torn one behind it.
_END_BYTES: Final = 8192


def name_of(upload_id: str) -> str:
    """The file's name."""
    return upload_id + SUFFIX


def id_of(name: str) -> str | None:
    """The upload whose file `name` is; None when it is another file."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def read(path: Path) -> PartialUpload | None:
    """The upload that `path` tells of; None when there is no such file, or no crash left a whole first line in it.

    Raises:
        OSError: it cannot be read.
    """
    upload_id = id_of(path.name)
    if upload_id is None:
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return read_open(fd, upload_id)
    finally:
        os.close(fd)


def read_open(fd: int, upload_id: str) -> PartialUpload | None:
    """The same of an open file."""
    beginning, newline, _ = os.pread(fd, LINE_LIMIT, 0).partition(b"\n")
    announced = partial_lines.announced_of(beginning) if newline else None
    if announced is None:
        return None
    end = end_of_lines(fd)
    start = max(len(beginning) + 1, end - _END_BYTES)
    state = PartialUpload(upload_id, announced, 0, announced.at_ns, None)
    for line in reversed(os.pread(fd, end - start, start).splitlines()):
        later = partial_lines.later(state, line)
        if later is not None:
            return later
    return state

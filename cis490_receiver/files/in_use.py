"""Who uses a folder at this moment: any number together, or one alone.

The lock (flock(2)) is on an empty file of the folder. It ends with the process that holds it, however that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic

FILE_NAME: Final = "in-use.lock"
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(folder: Path) -> None:
    """Make the file, so that users can be seen. On a disk that cannot be written there is none: nobody can be alone
    there either."""
    with contextlib.suppress(OSError):
        os.close(_made(folder))


class InUse:
    """Use of `folder` beside others, as long as this object lives. Makes nothing."""

    def __init__(self, folder: Path) -> None:
        """Raises:
        BlockingIOError: another one has it alone.
        """
        try:
            fd = os.open(folder / FILE_NAME, _FLAGS)
        except OSError:
            return
        weakref.finalize(self, os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


@contextlib.contextmanager
def alone_or_not(folder: Path) -> Iterator[bool]:
    """Use `folder` alone while the block runs; gives False at once when somebody else uses it.

    Raises:
        OSError: that cannot be told.
    """
    fd = _made(folder)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def _made(folder: Path) -> int:
    return os.open(folder / FILE_NAME, _FLAGS | os.O_CREAT, atomic.FILE_MODE)

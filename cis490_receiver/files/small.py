"""Read a file that should be small, whatever it proves to be."""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path
from typing import Final

_SECONDS: Final = 5.0
_STEP: Final = 64 * 1024


def read_small(path: Path, limit_bytes: int, *, seconds: float = _SECONDS) -> bytes:
    """The content of `path`, which may be a pipe.

    Raises:
        OSError: it cannot be read, has more than `limit_bytes`, or its end did not come within `seconds`; `strerror`
            says which.
    """
    # A FIFO without a writer would block open(2) for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _read(fd, path, limit_bytes, seconds)
    finally:
        os.close(fd)


def _read(fd: int, path: Path, limit_bytes: int, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    content = b""
    while ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(fd, min(_STEP, limit_bytes + 1 - len(content)))
        content += piece
        if not piece:
            return content
        if len(content) > limit_bytes:
            raise OSError(errno.EFBIG, f"it has more than {limit_bytes} bytes", str(path))
    raise TimeoutError(errno.ETIMEDOUT, f"its end did not come within {seconds:g} s", str(path))

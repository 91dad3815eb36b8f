"""Bodies that do not compress, of any size, without keeping them in memory whole."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import time
from collections.abc import Iterator

#: Bodies repeat this many bytes.
PATTERN_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
_LAST_CHUNK = b"0\r\n\r\n"


@functools.cache
def pattern() -> bytes:
    """The same bytes in every process."""
    return random.Random(490).randbytes(PATTERN_BYTES)


def pieces(size_bytes: int) -> Iterator[memoryview]:
    """A body of `size_bytes`, a MiB at a time."""
    view = memoryview(pattern())
    for start in range(0, size_bytes, CHUNK_BYTES):
        offset = start % PATTERN_BYTES
        yield view[offset : offset + min(CHUNK_BYTES, size_bytes - start)]


@functools.cache
def digest(size_bytes: int) -> str:
    """SHA-256 of the body of `size_bytes`."""
    return timed_digest(size_bytes)[0]


def timed_digest(size_bytes: int) -> tuple[str, float]:
    """SHA-256 of the body of `size_bytes`, and how many seconds hashlib took."""
    pattern()
    started = time.perf_counter()
    digest = hashlib.sha256()
    for piece in pieces(size_bytes):
        digest.update(piece)
    return digest.hexdigest(), time.perf_counter() - started


class Body:
    """A body as it goes over the wire, framed in chunks or plain, in a file in memory."""

    def __init__(self, size_bytes: int, *, chunked: bool) -> None:
        """A chunked body is a whole number of MiB."""
        self._fd = os.memfd_create("body")
        self._end = b""
        if chunked:
            if size_bytes % CHUNK_BYTES:
                raise ValueError("a chunked body is a whole number of MiB")
            frame = b"%x\r\n" % CHUNK_BYTES
            framed = b"".join(frame + piece + b"\r\n" for piece in pieces(min(size_bytes, PATTERN_BYTES)))
            self._period = len(framed)
            self._plain = size_bytes // CHUNK_BYTES * (len(frame) + CHUNK_BYTES + 2)
            self._end = _LAST_CHUNK
        else:
            framed = pattern()[:size_bytes]
            self._period = len(framed)
            self._plain = size_bytes
        with os.fdopen(os.dup(self._fd), "wb") as stream:
            stream.write(framed)

    @property
    def wire_bytes(self) -> int:
        """Its length with its framing."""
        return self._plain + len(self._end)

    def send(self, to: int, offset: int, limit: int) -> int:
        """Send at most `limit` bytes from `offset` on; gives how many went.

        Raises:
            BlockingIOError: none would.
        """
        if offset >= self._plain:
            return os.write(to, self._end[offset - self._plain :])
        within = offset % self._period
        count = min(limit, self._period - within, self._plain - offset)
        return os.sendfile(to, self._fd, within, count)

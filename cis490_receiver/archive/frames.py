"""The zstd frames around an archive (RFC 8878): decompress them, or only see that they are complete."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO, Final, Protocol

import zstandard

from cis490_receiver.archive.framing import Fed, steps
from cis490_receiver.archive.limits import (
    CPU_TIME,
    ArchiveError,
    Budget,
    Clock,
    CutShort,
    Limits,
    for_whole,
)

#: The window of `zstd --long=27`; a frame that asks for more is refused.
MAX_WINDOW_BYTES: Final = 1 << 27
#: Read, and decompressed, at a time.
STEP: Final = 128 * 1024


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at its end."""
        ...


class _Watched:
    """`stream`, as long as there is time. Frames that hold nothing are read through within one call of the
    decompressor, so the time is looked at here too."""

    def __init__(self, stream: Readable, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int, /) -> bytes:
        self._budget.check_time()
        return self._stream.read(size)


class Complete:
    """`stream`, whose frames are seen to be complete on the way.

    `read` raises CutShort where they are not, and the other errors of `framing.steps`.
    """

    def __init__(self, stream: Readable, limits: Limits, clock: Clock = CPU_TIME) -> None:
        self._stream = stream
        self._fed = Fed(Budget(limits, clock), MAX_WINDOW_BYTES)
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """See `Readable.read`."""
        piece = self._stream.read(size)
        if piece:
            self._fed.feed(piece)
        elif not self._ended:
            self._ended = True
            self._fed.end()
        return piece


class Decompressed:
    """The bytes in a zstd stream, decompressed a step at a time as they are asked for."""

    def __init__(self, stream: Readable, budget: Budget) -> None:
        self._budget = budget
        self._reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(
            _Watched(stream, budget),  # type: ignore[arg-type]
            read_size=STEP,
            read_across_frames=True,
            closefd=False,
        )
        self._step = b""
        self._offset = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes.

        Raises:
            CutShort: the stream ends before.
            ArchiveError: it is damaged, or a limit is reached.
        """
        end = self._offset + size
        if end <= len(self._step):
            piece = self._step[self._offset : end]
            self._offset = end
            return piece
        pieces = []
        while size > 0:
            self._fill()
            piece = self._step[self._offset : self._offset + size]
            self._offset += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Read `size` bytes and forget them.

        Raises:
            ArchiveError: as `read` does.
        """
        while size > 0:
            self._fill()
            count = min(size, len(self._step) - self._offset)
            self._offset += count
            size -= count

    def finish(self) -> None:
        """Read to the end of the stream, which checks the last frame's checksum.

        Raises:
            ArchiveError: it is damaged, or a limit is reached.
        """
        while self._next():
            pass

    def _fill(self) -> None:
        if self._offset == len(self._step) and not self._next():
            raise CutShort("the archive ends in the middle")

    def _next(self) -> bool:
        try:
            self._step = self._reader.read(STEP)
        except zstandard.ZstdError as exc:
            raise ArchiveError(f"not a zstd frame that can be read: {exc}") from None
        self._offset = 0
        self._budget.spend_bytes(len(self._step))
        return bool(self._step)


def check_frames(stream: BinaryIO, *, limits: Limits | None = None, clock: Clock = CPU_TIME) -> None:
    """Walk over the frames' blocks (RFC 8878 §3.1.1) from the start of `stream`, without decoding them; it must end
    with one. `limits` is `for_whole` of its size where it is None.

    Raises:
        CutShort: it ends within one, as a file does that is still being written.
        TooManyHeaders: it has more frames than the limit.
        TooLong: it has more blocks than there is time for.
        ArchiveError: it is something else.
    """
    walk = steps(Budget(limits or for_whole(size_of(stream)), clock))
    stream.seek(0)
    wanted = next(walk)
    with contextlib.suppress(StopIteration):
        while True:
            wanted = walk.send(stream.read(wanted) if wanted > 0 else _pass_over(stream, -wanted))


def _pass_over(stream: BinaryIO, size: int) -> bytes:
    # A seek would go beyond the end without a word.
    stream.seek(size - 1, os.SEEK_CUR)
    return stream.read(1)


def size_of(stream: BinaryIO) -> int:
    """The length of a stream that can be sought, in bytes; it is left at its end."""
    return stream.seek(0, os.SEEK_END)

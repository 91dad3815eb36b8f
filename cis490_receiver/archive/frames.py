"""The zstd frames around an archive (RFC 8878): decompress them, or only see that they are complete."""

from __future__ import annotations

import os
from typing import BinaryIO, Final, Protocol

import zstandard

from cis490_receiver.archive.limits import CPU_TIME, ArchiveError, Budget, Clock, CutShort, Limits, for_whole

#: The window of `zstd --long=27`; a frame that asks for more is refused.
MAX_WINDOW_BYTES: Final = 1 << 27
#: Read, and decompressed, at a time.
STEP: Final = 128 * 1024

_ZSTD_MAGIC: Final = 0xFD2FB528
_SKIPPABLE_MAGIC: Final = 0x184D2A50


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


def is_zstd(first_bytes: bytes) -> bool:
    """Whether a file that begins so is a zstd frame (RFC 8878 §3.1.1), skippable or not."""
    magic = int.from_bytes(first_bytes[:4], "little")
    return len(first_bytes) >= 4 and (magic == _ZSTD_MAGIC or magic & ~0xF == _SKIPPABLE_MAGIC)


def check_frames(stream: BinaryIO, *, limits: Limits | None = None, clock: Clock = CPU_TIME) -> None:
    """Walk over the frames' blocks (RFC 8878 §3.1.1) from the start of `stream`, without decoding them; it must end
    with one. `limits` is `for_whole` of its size where it is None.

    Raises:
        CutShort: it ends within one, as a file does that is still being written.
        TooManyHeaders: it has more frames than the limit.
        TooLong: it has more blocks than there is time for.
        ArchiveError: it is something else.
    """
    budget = Budget(limits or for_whole(size_of(stream)), clock)
    stream.seek(0)
    frames = 0
    while first := stream.read(4):
        budget.spend_header()
        if not is_zstd(first):
            raise ArchiveError(
                "not a zstd frame" if frames == 0 else "there is something behind the last frame"
            )
        if int.from_bytes(first, "little") == _ZSTD_MAGIC:
            _skip_frame(stream, budget)
        else:
            _skip(stream, int.from_bytes(_exactly(stream, 4), "little"))
        frames += 1
    if frames == 0:
        raise CutShort("the file is empty")


def size_of(stream: BinaryIO) -> int:
    """The length of a stream that can be sought, in bytes; it is left at its end."""
    return stream.seek(0, os.SEEK_END)


def _skip_frame(stream: BinaryIO, budget: Budget) -> None:
    descriptor = _exactly(stream, 1)[0]
    single_segment = bool(descriptor & 0x20)
    content_size = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    _skip(stream, (0 if single_segment else 1) + dictionary_id + content_size)
    last = False
    while not last:
        budget.check_time()
        header = int.from_bytes(_exactly(stream, 3), "little")
        last = bool(header & 1)
        is_rle = header >> 1 & 3 == 1
        _skip(stream, 1 if is_rle else header >> 3)
    if descriptor & 0x04:
        _skip(stream, 4)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise CutShort("the last zstd frame is cut short")
    return data


def _skip(stream: BinaryIO, size: int) -> None:
    if size > 0:
        # A seek would go beyond the end without a word.
        stream.seek(size - 1, os.SEEK_CUR)
        _exactly(stream, 1)

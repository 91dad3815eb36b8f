"""Where the frames of a zstd stream and their blocks begin and end (RFC 8878 §3.1.1), without decoding them.

A decoder gives what it has of a frame that is cut short without a word, so somebody else has to see that the last one
is complete. The rules stand here once, as steps: what a file is read and sought by, or a stream fed to.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from cis490_receiver.archive.limits import ArchiveError, Budget, CutShort, TooLarge

_ZSTD_MAGIC: Final = 0xFD2FB528
_SKIPPABLE_MAGIC: Final = 0x184D2A50
#: Sent to the steps when what they wanted to be passed over was.
PASSED: Final = b"."

#: Yields how many bytes it wants to be given next, or below zero how many to be passed over. What is shorter than that,
#: empty where bytes were to be passed over, is the stream's end. Returns when it ends well.
Steps = Generator[int, bytes, None]


def is_zstd(first_bytes: bytes) -> bool:
    """Whether a file that begins so is a zstd frame (RFC 8878 §3.1.1), skippable or not."""
    magic = int.from_bytes(first_bytes[:4], "little")
    return len(first_bytes) >= 4 and (magic == _ZSTD_MAGIC or magic & ~0xF == _SKIPPABLE_MAGIC)


def steps(budget: Budget, max_window_bytes: int | None = None) -> Steps:
    """The steps through a stream of frames, whose windows may have `max_window_bytes`; None is any.

    Raises:
        CutShort: it is empty, or ends within a frame.
        TooManyHeaders, TooLong: it has more frames, or blocks, than `budget` allows.
        TooLarge: decoding it takes a larger window.
        ArchiveError: it is something else.
    """
    frames = 0
    while first := (yield 4):
        budget.spend_header()
        if not is_zstd(first):
            raise ArchiveError(
                "not a zstd frame" if frames == 0 else "there is something behind the last frame"
            )
        if int.from_bytes(first, "little") == _ZSTD_MAGIC:
            yield from _frame(budget, max_window_bytes)
        else:
            size = yield from _exactly(4)
            yield from _skip(int.from_bytes(size, "little"))
        frames += 1
    if frames == 0:
        raise CutShort("the file is empty")


class Fed:
    """The steps of a stream that goes by in pieces."""

    def __init__(self, budget: Budget, max_window_bytes: int) -> None:
        self._steps = steps(budget, max_window_bytes)
        self._wanted = next(self._steps)
        self._given = b""

    def feed(self, piece: bytes) -> None:
        """See the next bytes.

        Raises:
            ArchiveError: as `steps`.
        """
        at = 0
        while at < len(piece):
            if self._wanted < 0:
                passed = min(len(piece) - at, -self._wanted)
                at += passed
                self._wanted += passed
                if self._wanted == 0:
                    self._wanted = self._steps.send(PASSED)
                continue
            more = piece[at : at + self._wanted - len(self._given)]
            at += len(more)
            self._given += more
            if len(self._given) == self._wanted:
                given, self._given = self._given, b""
                self._wanted = self._steps.send(given)

    def end(self) -> None:
        """See the stream's end.

        Raises:
            ArchiveError: as `steps`.
        """
        try:
            self._steps.send(self._given)
        except StopIteration:
            return


def _frame(budget: Budget, max_window_bytes: int | None) -> Steps:
    descriptor = (yield from _exactly(1))[0]
    single_segment = bool(descriptor & 0x20)
    content_size = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    window = 0
    if not single_segment:
        exponent, mantissa = divmod((yield from _exactly(1))[0], 8)
        window = (8 + mantissa) << (7 + exponent)
    yield from _skip(dictionary_id)
    if content_size:
        size = int.from_bytes((yield from _exactly(content_size)), "little")
        window = size if single_segment else window
    if max_window_bytes is not None and window > max_window_bytes:
        raise TooLarge(f"decoding it takes a window of {window} bytes")
    last = False
    while not last:
        budget.check_time()
        header = int.from_bytes((yield from _exactly(3)), "little")
        last = bool(header & 1)
        is_rle = header >> 1 & 3 == 1
        yield from _skip(1 if is_rle else header >> 3)
    if descriptor & 0x04:
        yield from _skip(4)


def _exactly(size: int) -> Generator[int, bytes, bytes]:
    data = yield size
    if len(data) < size:
        raise CutShort("the last zstd frame is cut short")
    return data


def _skip(size: int) -> Steps:
    if size > 0 and not (yield -size):
        raise CutShort("the last zstd frame is cut short")

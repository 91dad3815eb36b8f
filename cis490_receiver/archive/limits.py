"""What a look into an archive may cost, and the errors that say what was wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Gives seconds that only grow. The processor time of the calling thread is what an archive itself costs: neither a
#: disk that stalls nor a busy machine makes a good archive a bad one. For a stream that may stall, `time.monotonic`.
Clock = Callable[[], float]
CPU_TIME: Final[Clock] = time.thread_time


class ArchiveError(ValueError):
    """The file is not a tar archive in a zstd frame, or is beyond a limit; the text says which."""


class CutShort(ArchiveError):
    """What there is of the file is good, and its end is missing."""


class BeyondLimit(ArchiveError):
    """A limit of ours is reached: that says nothing of the archive, which may be good."""


class TooManyBytes(BeyondLimit):
    """It decompresses to more than the limit."""


class TooManyHeaders(BeyondLimit):
    """It has more headers than the limit: of members, those that only describe the next one, or of zstd frames."""


class TooLong(BeyondLimit):
    """Reading it takes longer than the limit."""


class TooLarge(BeyondLimit):
    """A single thing in it takes more memory than the limit: a zstd window, or what describes a member."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a look into an archive may cost."""

    decompressed_bytes: int
    headers: int
    seconds: float


#: For finding meta.json, which should come first.
SEARCH: Final = Limits(decompressed_bytes=256 << 20, headers=20_000, seconds=5.0)

_WHOLE_HEADERS: Final = 250_000
_WHOLE_SECONDS: Final = 10.0
_STORED_BYTES_PER_SECOND: Final = 4 << 20


def for_whole(stored_bytes: int, *, decompressed_bytes: int = 1 << 40) -> Limits:
    """For reading an archive of `stored_bytes` to its end: the time grows with what was sent."""
    seconds = _WHOLE_SECONDS + stored_bytes / _STORED_BYTES_PER_SECOND
    return Limits(decompressed_bytes, _WHOLE_HEADERS, seconds)


class Budget:
    """What is left of `Limits`, from now on."""

    def __init__(self, limits: Limits, clock: Clock = CPU_TIME) -> None:
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._headers = 0
        self._bytes = 0

    def spend_header(self) -> None:
        """Note that one more header is being read.

        Raises:
            TooManyHeaders, TooLong: that is beyond the limit.
        """
        self._headers += 1
        if self._headers > self._limits.headers:
            raise TooManyHeaders(f"more than {self._limits.headers} headers")
        self.check_time()

    def spend_bytes(self, count: int) -> None:
        """Note that `count` more bytes were decompressed.

        Raises:
            TooManyBytes, TooLong: that is beyond the limit.
        """
        self._bytes += count
        if self._bytes > self._limits.decompressed_bytes:
            raise TooManyBytes(f"more than {self._limits.decompressed_bytes} bytes when decompressed")
        self.check_time()

    def check_time(self) -> None:
        """Raises:
        TooLong: the time is over.
        """
        if self._clock() > self._deadline:
            raise TooLong(f"reading it takes longer than {self._limits.seconds:.0f} s")

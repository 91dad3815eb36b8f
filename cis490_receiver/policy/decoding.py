"""Decode a body in a thread of its own while it comes, so that it is judged by the time that its last byte is there.

Whoever receives the body gives it away a piece at a time and goes on; zstandard decodes without the interpreter's
lock. A few pieces wait at most: when decoding is slower than the network, receiving waits for it. Each piece is copied,
since its buffer is on its way to the disk and then to the next piece; that takes a hundredth of the time of decoding.

Leaving the context ends the thread, wherever it is, within a step of the decoder.
"""

from __future__ import annotations

import collections
import io
import threading
import time
from types import TracebackType
from typing import Final, Protocol, Self

from cis490_receiver import archive
from cis490_receiver.errors import BadArchive

#: How many pieces wait to be decoded.
WAITING: Final = 4


class Look(Protocol):
    """A look at one body, a piece at a time while it comes."""

    def look_at(self, piece: memoryview) -> None:
        """See the next piece, which is the caller's again afterwards.

        Raises:
            BadArchive: no archive begins like this.
        """
        ...

    def conclude(self) -> None:
        """Say what the whole body is, of which every piece was seen.

        Raises:
            BadArchive: no archive that can be opened.
        """
        ...


class _Abandoned(Exception):
    """Nobody wants to know any more."""


class Pieces:
    """Pieces of a stream on their way from the thread that gives them to the one that reads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: collections.deque[bytes] = collections.deque()
        self._piece, self._at = b"", 0
        self._ended = False
        self._abandoned = False
        self._left = False

    def give(self, piece: bytes) -> None:
        """Add the next piece. Waits as long as too many wait; what nobody reads any more is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < WAITING or self._left)
            if not self._left:
                self._waiting.append(piece)
                self._changed.notify_all()

    def end(self) -> None:
        """Say that there is no other piece."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """End the reader."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Say that nobody reads any more."""
        with self._changed:
            self._left = True
            self._waiting.clear()
            self._changed.notify_all()

    def read(self, size: int, /) -> bytes:
        """See `archive.frames.Readable.read`.

        Raises:
            _Abandoned: `abandon` was called.
        """
        if self._at == len(self._piece):
            self._piece, self._at = self._next(), 0
        found = self._piece[self._at : self._at + size]
        self._at += len(found)
        return found

    def clock(self) -> float:
        """The processor time of the thread that reads, which looks at it at each step of the decoder, and ends then.

        Raises:
            _Abandoned: `abandon` was called.
        """
        if self._abandoned:
            raise _Abandoned
        return time.thread_time()

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._abandoned)
            if self._abandoned:
                raise _Abandoned
            if not self._waiting:
                return b""
            piece = self._waiting.popleft()
            self._changed.notify_all()
            return piece


class Decoding:
    """See `Look`: a body that is decoded while it comes. One of a single piece is decoded by whoever gave it."""

    def __init__(self, limits: archive.Limits) -> None:
        self._limits = limits
        self._first: bytes | None = None
        self._pieces = Pieces()
        self._thread: threading.Thread | None = None
        #: Why it does not open, and what ended the thread otherwise.
        self._problem: str | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._pieces.abandon()
            self._thread.join()

    def look_at(self, piece: memoryview) -> None:
        """See `Look.look_at`. Waits where too much waits to be decoded."""
        if self._first is None:
            self._first = bytes(piece)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="episode-decoder", daemon=True)
            self._thread.start()
            self._pieces.give(self._first)
        self._pieces.give(bytes(piece))

    def conclude(self) -> None:
        """See `Look.conclude`. Waits for the rest to be decoded."""
        if self._thread is None:
            self._decode(io.BytesIO(self._first or b""), archive.CPU_TIME)
        else:
            self._pieces.end()
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        if self._problem is not None:
            raise BadArchive(self._problem)

    def _run(self) -> None:
        try:
            self._decode(self._pieces, self._pieces.clock)
        except _Abandoned:
            pass
        except BaseException as exc:
            self._failure = exc
        finally:
            self._pieces.leave()

    def _decode(self, stream: archive.Readable, clock: archive.Clock) -> None:
        try:
            self._problem = archive.read_whole(stream, self._limits, clock).meta_problem
        except archive.ArchiveError as exc:
            self._problem = str(exc)

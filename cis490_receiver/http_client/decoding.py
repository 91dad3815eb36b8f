"""The content of an answer that was sent compressed with zstd (RFC 8878)."""

from __future__ import annotations

from typing import Final

import zstandard

from cis490_receiver.http_client.endpoint import Wording
from cis490_receiver.http_client.failures import ReceiverFailed
from cis490_receiver.http_client.reader import Body

#: What is said in ``Accept-Encoding``.
CODING: Final = "zstd"
#: The largest window of the coding (RFC 9659).
_MAX_WINDOW_BYTES: Final = 8 << 20
_STEP: Final = 128 << 10
#: The longest header of a frame.
_HEADER_BYTES: Final = 18


class Decoded:
    """`body`, decompressed as it is read, in bounded memory; to be read as a `Body` is."""

    def __init__(self, body: Body, wording: Wording) -> None:
        """Begins to read `body`.

        Raises:
            TransportFailed: it ended early, or is no such stream.
        """
        self.status = body.status
        self.headers = body.headers
        self._body = body
        self._remedy = wording.later
        begun = b""
        while len(begun) < _HEADER_BYTES and (piece := body.read(_HEADER_BYTES - len(begun))):
            begun += piece
        try:
            self._size = zstandard.frame_content_size(begun)
        except zstandard.ZstdError as exc:
            raise self._damaged(str(exc)) from exc
        self._given = 0
        self._reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
            _Source(begun, body),  # type: ignore[arg-type]
            read_size=_STEP,
            closefd=False,
        )

    @property
    def length(self) -> int | None:
        """How many bytes are still to come; None where that was not announced."""
        return self._size - self._given if self._size >= 0 else None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            TransportFailed: it ended early, is damaged, or nothing came for too long.
        """
        try:
            piece = self._reader.read(size)
        except zstandard.ZstdError as exc:
            raise self._damaged(str(exc)) from exc
        self._given += len(piece)
        if size and not piece and (self.length or self._body.read(1)):
            raise self._damaged("it ends in the wrong place")
        return piece

    def _damaged(self, why: str) -> ReceiverFailed:
        return ReceiverFailed(f"the answer's compressed content is damaged: {why}", self._remedy)


class _Source:
    """`begun` and then the rest of `body`."""

    def __init__(self, begun: bytes, body: Body) -> None:
        self._begun = begun
        self._body = body

    def read(self, size: int) -> bytes:
        if self._begun:
            piece, self._begun = self._begun[:size], self._begun[size:]
            return piece
        return self._body.read(size)

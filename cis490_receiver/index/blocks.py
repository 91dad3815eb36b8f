"""Parts of a long text that is read from far away, here and there: what was read is read again from memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final, Self

#: How much is asked for at once, in bytes, and how many such blocks are remembered: 16 MiB.
BLOCK_BYTES: Final = 256 << 10
_REMEMBERED: Final = 64


class Blocks:
    """What `open_text` gives, in blocks. It is opened when the first byte is asked for, and closed when the context is
    left. One thread at a time."""

    def __init__(self, open_text: Callable[[], BinaryIO]) -> None:
        self._open_text = open_text
        self._stream: BinaryIO | None = None
        #: By number; the one that was asked for last is the last one.
        self._blocks: dict[int, bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def read_at(self, count: int, offset: int) -> bytes:
        """`count` bytes from `offset` on, fewer where the text ends before.

        Raises:
            StorageFailed: they cannot be read.
        """
        number, start = divmod(offset, BLOCK_BYTES)
        found = self._block(number)[start : start + count]
        while len(found) < count and len(self._block(number)) == BLOCK_BYTES:
            number += 1
            found += self._block(number)[: count - len(found)]
        return found

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            block = self._read(number)
            if len(self._blocks) == _REMEMBERED:
                del self._blocks[next(iter(self._blocks))]
        self._blocks[number] = block
        return block

    def _read(self, number: int) -> bytes:
        if self._stream is None:
            self._stream = self._open_text()
        self._stream.seek(number * BLOCK_BYTES)
        return self._stream.read(BLOCK_BYTES)

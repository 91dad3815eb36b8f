"""Parts of a long text that is read from far away, here and there: what was read is read again from memory."""

from __future__ import annotations

from typing import BinaryIO, Final

#: How much is asked for at once, in bytes, and how many such blocks are remembered: 16 MiB.
BLOCK_BYTES: Final = 256 << 10
_REMEMBERED: Final = 64


class Blocks:
    """What `stream` gives, in blocks. One thread at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        #: By number; the one that was asked for last is the last one.
        self._blocks: dict[int, bytes] = {}

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
        self._stream.seek(number * BLOCK_BYTES)
        return self._stream.read(BLOCK_BYTES)

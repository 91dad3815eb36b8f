"""An object as a stream that can be sought, read by ranges."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO, Final

from cis490_receiver.storage.object_client import ObjectClient

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How much is asked for after a seek, and at most when the reader goes on from there, in bytes.
FIRST_BYTES: Final = 256 << 10
LARGEST_BYTES: Final = 8 << 20


class ObjectStream(io.RawIOBase):
    """The bytes of one object, `size_bytes` long, which never change. Each request asks for twice as many as the one
    before, so that few are asked for in vain, and a whole object costs few requests."""

    def __init__(self, client: ObjectClient, object_key: str, size_bytes: int) -> None:
        self._client = client
        self._object_key = object_key
        self._size_bytes = size_bytes
        self._offset = 0
        self._window = memoryview(b"")
        self._window_start = 0
        self._next_bytes = FIRST_BYTES

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._offset = base + offset
        return self._offset

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` from its start; gives how many bytes that are, 0 at the end.

        Raises:
            StorageFailed: they cannot be read.
        """
        target = memoryview(buffer).cast("B")
        if self._offset >= self._size_bytes or not target:
            return 0
        within = self._offset - self._window_start
        if not 0 <= within < len(self._window):
            self._fetch(len(target))
            within = 0
        piece = self._window[within : within + len(target)]
        target[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)

    def _fetch(self, wanted: int) -> None:
        goes_on = self._offset == self._window_start + len(self._window)
        count = min(max(self._next_bytes if goes_on else FIRST_BYTES, wanted), LARGEST_BYTES)
        self._next_bytes = min(2 * count, LARGEST_BYTES)
        end = min(self._offset + count, self._size_bytes)
        # The one before is let go first: a stream has one window in memory.
        self._window = memoryview(b"")
        self._window = self._client.read(self._object_key, self._offset, end)
        self._window_start = self._offset


def open_object(client: ObjectClient, object_key: str, size_bytes: int) -> BinaryIO:
    """A buffered stream over an object; nothing is read before it is asked for."""
    return io.BufferedReader(ObjectStream(client, object_key, size_bytes), 64 << 10)


def sha256_of_object(client: ObjectClient, object_key: str, size_bytes: int) -> str:
    """Read a whole object and hash it: 64 hex digits.

    Raises:
        StorageFailed: it cannot be read.
    """
    digest = hashlib.sha256()
    for start in range(0, size_bytes, LARGEST_BYTES):
        end = min(start + LARGEST_BYTES, size_bytes)
        digest.update(client.read(object_key, start, end))
    return digest.hexdigest()

"""What keeping long texts outside of the rows that lead to them has to do, whatever they are kept in.

A text has a key that no other one ever has, and never changes. Whoever makes one notes its key, durably, before the
first byte: so one that nothing leads to, because its maker died, can always be found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol


class Blobs(Protocol):
    """The texts. Any number of processes and threads may use them at once.

    Every method but `new_key` raises StorageFailed or its subclass StoreUnavailable when it cannot do what it says.
    """

    def new_key(self, name: str) -> str:
        """A key that nothing had or will have, with `name` in it for people; `name` obeys the id rule."""
        ...

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store `pieces`, one after the other, under `key`. Once this returns the whole is on stable storage and was
        found to be what came; before that nobody sees any of it. After an error, also one that `pieces` raises, it may
        be there or come to be."""
        ...

    def open(self, key: str, size_bytes: int) -> BinaryIO | None:
        """What is stored under `key`, to be read; seekable. None when that is nothing, or not `size_bytes` long."""
        ...

    def delete(self, key: str) -> None:
        """Delete what is stored under `key`, if anything is."""
        ...

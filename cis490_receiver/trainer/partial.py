"""An episode on its way into a cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from cis490_receiver.files import atomic
from cis490_receiver.models import Episode
from cis490_receiver.trainer.verified import Source


class Owner(Protocol):
    """Whose file it is."""

    def published(self, record: Episode, inode: int) -> None:
        """It has its name now, as file `inode`."""
        ...

    def discarded(self, record: Episode) -> None:
        """It is away."""
        ...

    def let_go(self, record: Episode) -> None:
        """Nobody here writes to it any more."""
        ...


class Partial:
    """The file `path`, open and locked as `fd`, that takes what comes; see `verified.Keep`. When the disk takes no
    more, nothing is kept, and whoever reads does not notice.

    Attributes:
        have: how many bytes were there before.
    """

    def __init__(self, path: str, fd: int, target: str, record: Episode, owner: Owner) -> None:
        self.have = os.fstat(fd).st_size
        self._record = record
        self._owner = owner
        self._path = path
        self._fd = fd
        self._target = target
        self._seen = 0
        self._taken = self.have

    def read_at(self, size: int, offset: int) -> bytes:
        """What was there before, from `offset` on."""
        return os.pread(self._fd, min(size, self.have - offset), offset)

    def write(self, piece: bytes) -> None:
        """Take a piece; those that were there before pass too."""
        self._seen += len(piece)
        new = self._seen - self._taken
        if new <= 0 or self._fd < 0:
            return
        try:
            atomic.write_all(self._fd, memoryview(piece)[len(piece) - new :])
        except OSError:
            self.discard()
            return
        self._taken = self._seen

    def publish(self) -> None:
        """Give it its name."""
        if self._fd < 0:
            return
        try:
            self._take_name()
        except OSError:
            self.discard()
            return
        self._owner.published(self._record, os.fstat(self._fd).st_ino)
        self._let_go()

    def _take_name(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._path, self._target)
            return
        os.makedirs(os.path.dirname(self._target), exist_ok=True)
        os.rename(self._path, self._target)

    def discard(self) -> None:
        """Take it away."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            self._owner.discarded(self._record)
        self._let_go()

    def close(self) -> None:
        """Leave it to whoever goes on with it."""
        if not self._taken:
            self.discard()
        self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._owner.let_go(self._record)


class Continued:
    """What is in `partial`, then what `follow` gives of the rest."""

    def __init__(self, partial: Partial, follow: Callable[[int], Source]) -> None:
        self._partial = partial
        self._follow = follow
        self._at = 0
        self._rest: Source | None = None

    def read(self, size: int, /) -> bytes:
        """See `verified.Source`."""
        if self._at < self._partial.have and (piece := self._partial.read_at(size, self._at)):
            self._at += len(piece)
            return piece
        if self._rest is None:
            self._rest = self._follow(self._at)
        return self._rest.read(size)

    def close(self) -> None:
        """See `verified.Source`."""
        if self._rest is not None:
            self._rest.close()

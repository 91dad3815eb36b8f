"""A stream that ends only if every byte of it was right."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from cis490_receiver.models import Episode
from cis490_receiver.trainer.failures import DigestMismatch

_STEP: Final = 1 << 18


class Source(Protocol):
    """Bytes that come from somewhere."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...

    def close(self) -> None:
        """No more of them are wanted."""
        ...


class Stream(Source, Protocol):
    """The bytes of one episode."""

    def finish(self) -> None:
        """Let what was read so far count: the rest is read, and the whole is what the index says.

        Raises:
            DigestMismatch: it is not.
        """
        ...


class Keep(Protocol):
    """Takes what comes, for the next time."""

    def write(self, piece: bytes) -> None:
        """One more piece."""
        ...

    def publish(self) -> None:
        """All of it was right."""
        ...

    def discard(self) -> None:
        """It was not."""
        ...

    def close(self) -> None:
        """No more will come. What was not published may be continued later."""
        ...


class Nothing:
    """Keeps nothing."""

    def write(self, piece: bytes) -> None:
        """See `Keep`."""

    def publish(self) -> None:
        """See `Keep`."""

    def discard(self) -> None:
        """See `Keep`."""

    def close(self) -> None:
        """See `Keep`."""


class Verified:
    """The bytes of `source`, hashed as they pass and given to `keep`. Its end, an empty read or `finish`, comes only
    after the hash was seen to be that of the index line."""

    def __init__(self, source: Source, record: Episode, keep: Keep) -> None:
        self._source = source
        self._record = record
        self._keep = keep
        self._digest = hashlib.sha256()
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """See `Source.read`.

        Raises:
            DigestMismatch: the end came, and the bytes were not the right ones.
            EpisodeFailed: they could not be had.
        """
        if self._ended:
            return b""
        piece = self._source.read(size)
        if piece:
            self._digest.update(piece)
            self._keep.write(piece)
        else:
            self._end()
        return piece

    def finish(self) -> None:
        """See `Stream.finish`."""
        while self.read(_STEP):
            pass

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()
        self._keep.close()

    def _end(self) -> None:
        if self._digest.hexdigest() != self._record.sha256:
            self._keep.discard()
            raise DigestMismatch(
                f"{self._record.key}: the bytes that came are not those of the index (SHA-256); "
                "try again, and if it lasts, have `cis490-receiver verify` run on the receiver"
            )
        self._keep.publish()
        self._ended = True


class Whole:
    """A stream of bytes that were verified before."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int, /) -> bytes:
        """See `Source.read`."""
        return self._source.read(size)

    def finish(self) -> None:
        """See `Stream.finish`."""

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()

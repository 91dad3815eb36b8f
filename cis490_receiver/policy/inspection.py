"""Whether a body is an archive that a trainer could open: `validate` in the configuration.

A body's first piece may be shorter than a frame's magic number when its client dribbles; what cannot be judged by its
start is judged as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO, Final

from cis490_receiver import archive
from cis490_receiver.config import Settings
from cis490_receiver.errors import BadArchive
from cis490_receiver.policy.decoding import Decoding, Look

_MAGIC_BYTES: Final = 4
_NOT_ZSTD: Final = "it does not begin as a zstd frame"


class Inattentive:
    """See `decoding.Look`: takes whatever comes."""

    def look_at(self, piece: memoryview) -> None:
        """See `Look.look_at`."""

    def conclude(self) -> None:
        """See `Look.conclude`."""


class AtStart:
    """See `decoding.Look`: looks at the first bytes alone."""

    def __init__(self) -> None:
        self._first = b""

    def look_at(self, piece: memoryview) -> None:
        """See `Look.look_at`."""
        missing = _MAGIC_BYTES - len(self._first)
        if missing > 0:
            self._first += bytes(piece[:missing])
            if len(self._first) == _MAGIC_BYTES and not archive.is_zstd(self._first):
                raise BadArchive(_NOT_ZSTD)

    def conclude(self) -> None:
        """See `Look.conclude`."""
        if len(self._first) < _MAGIC_BYTES:
            raise BadArchive(_NOT_ZSTD)


class AtWhole(AtStart):
    """See `decoding.Look`: refuses at its start what is none, and decodes the rest."""

    def __init__(self, decoding: Decoding) -> None:
        super().__init__()
        self._decoding = decoding

    def look_at(self, piece: memoryview) -> None:
        """See `Look.look_at`."""
        super().look_at(piece)
        self._decoding.look_at(piece)

    def conclude(self) -> None:
        """See `Look.conclude`."""
        super().conclude()
        self._decoding.conclude()


class TakeAll:
    """``validate = "off"``: bytes are bytes."""

    def look(self, size_bytes: int | None) -> AbstractContextManager[Look]:
        """See `ingest.Inspector`."""
        return nullcontext(Inattentive())

    def look_at_start(self, first_bytes: bytes) -> None:
        """See `ingest.Inspector`."""

    def look_at_whole(self, open_body: Callable[[], BinaryIO]) -> None:
        """See `ingest.Inspector`."""


class CheckMagic(TakeAll):
    """``validate = "magic"``: it begins as a zstd frame."""

    def look(self, size_bytes: int | None) -> AbstractContextManager[Look]:
        """See `ingest.Inspector`."""
        return nullcontext(AtStart())

    def look_at_start(self, first_bytes: bytes) -> None:
        """See `ingest.Inspector`."""
        if len(first_bytes) >= _MAGIC_BYTES and not archive.is_zstd(first_bytes):
            raise BadArchive(_NOT_ZSTD)

    def look_at_whole(self, open_body: Callable[[], BinaryIO]) -> None:
        """See `ingest.Inspector`."""
        with open_body() as stream:
            if not archive.is_zstd(stream.read(_MAGIC_BYTES)):
                raise BadArchive(_NOT_ZSTD)


class CheckWhole(CheckMagic):
    """``validate = "full"``: it decodes to its end, within limits, and has a meta.json."""

    def __init__(self, max_decompressed_bytes: int, max_episode_bytes: int) -> None:
        self._max_bytes = max_decompressed_bytes
        self._max_stored_bytes = max_episode_bytes

    @contextmanager
    def look(self, size_bytes: int | None) -> Iterator[Look]:
        """See `ingest.Inspector`: decoded while it comes."""
        stored_bytes = self._max_stored_bytes if size_bytes is None else size_bytes
        with Decoding(archive.for_whole(stored_bytes, decompressed_bytes=self._max_bytes)) as decoding:
            yield AtWhole(decoding)

    def look_at_whole(self, open_body: Callable[[], BinaryIO]) -> None:
        """See `ingest.Inspector`."""
        with open_body() as stream:
            stored_bytes = stream.seek(0, os.SEEK_END)
            limits = archive.for_whole(stored_bytes, decompressed_bytes=self._max_bytes)
            try:
                archive.check(stream, limits=limits)
            except archive.ArchiveError as exc:
                raise BadArchive(str(exc)) from None


def inspector(settings: Settings) -> TakeAll:
    """The inspector that the configuration asks for."""
    if settings.validate == "full":
        return CheckWhole(settings.max_decompressed_bytes, settings.max_episode_bytes)
    return CheckMagic() if settings.validate == "magic" else TakeAll()

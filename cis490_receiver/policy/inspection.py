"""Whether a body is an archive that a trainer could open: `validate` in the configuration.

A body's first piece may be shorter than a frame's magic number when its client dribbles; what cannot be judged by its
start is judged as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Final

from cis490_receiver import archive
from cis490_receiver.config import Settings
from cis490_receiver.errors import BadArchive

_MAGIC_BYTES: Final = 4
_NOT_ZSTD: Final = "it does not begin as a zstd frame"


class TakeAll:
    """``validate = "off"``: bytes are bytes."""

    def look_at_start(self, first_bytes: bytes) -> None:
        """See `ingest.Inspector`."""

    def look_at_whole(self, open_body: Callable[[], BinaryIO]) -> None:
        """See `ingest.Inspector`."""


class CheckMagic(TakeAll):
    """``validate = "magic"``: it begins as a zstd frame."""

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

    def __init__(self, max_decompressed_bytes: int) -> None:
        self._max_bytes = max_decompressed_bytes

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
        return CheckWhole(settings.max_decompressed_bytes)
    return CheckMagic() if settings.validate == "magic" else TakeAll()

"""A release's table while it is made, wherever it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.releases import About, Release
from cis490_receiver.index.release_table import Name, name_of

#: How much is written at a time, in bytes, and how far marks are apart.
_STEP: Final = 256 << 10


class NewTable:
    """The lines of a selection, which are hashed as they pass, once.

    Attributes:
        marks: where the first line begins, and then one every so often, and their names (`SparseIndex`).
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self.marks: list[tuple[int, Name]] = []

    def pieces(self) -> Iterator[bytes]:
        """The lines, many at a time."""
        piece = bytearray()
        for line in self._selection.lines:
            if not piece:
                self.marks.append((self._size_bytes, name_of(line)))
            piece += line
            if len(piece) >= _STEP:
                yield self._passed(bytes(piece))
                piece.clear()
        yield self._passed(bytes(piece))

    def as_release(self, name: str, about: About) -> Release:
        """What the table is, now that all of it has passed."""
        return Release(
            name=name,
            sha256=self._digest.hexdigest(),
            size_bytes=self._size_bytes,
            episodes=self._selection.episodes,
            episode_bytes=self._selection.size_bytes,
            hosts=self._selection.hosts,
            about=about,
        )

    def _passed(self, piece: bytes) -> bytes:
        self._digest.update(piece)
        self._size_bytes += len(piece)
        return piece


def newest_first(releases: Iterable[Release]) -> list[Release]:
    """In the order of lists: by when they were made, then by name."""
    by_name = sorted(releases, key=lambda release: release.name)
    return sorted(by_name, key=lambda release: release.about.created_at_wall, reverse=True)

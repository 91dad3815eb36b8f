"""Look at one stored episode as its trainer will: does it open, and is it what was said of it?

Its bytes are read once, and hashed and decoded on the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from cis490_receiver import archive
from cis490_receiver.errors import ReceiverError
from cis490_receiver.models import Episode
from cis490_receiver.policy.labels import disagreements, lacking
from cis490_receiver.state.base.inspections import CHANGED, MISLABELLED, UNOPENABLE
from cis490_receiver.storage.base import EpisodeStore, OpenEpisode

#: What may be found that says nothing of the episode: it was too large to be looked at within limits, the disk did not
#: give its bytes, it is not there.
UNFINISHED: Final = "unfinished"
UNREADABLE: Final = "unreadable"
MISSING: Final = "missing"
_STEP: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an episode.

    Attributes:
        episode: as the index describes it.
        kind: one of those of `state.base.inspections`, or of those above.
        detail: a sentence without its full stop.
    """

    episode: Episode
    kind: str
    detail: str

    @property
    def spoils(self) -> bool:
        """Whether nobody can train on it."""
        return self.kind in (UNOPENABLE, CHANGED)


def examine(
    episode: Episode, store: EpisodeStore, *, max_decompressed_bytes: int, spend: Callable[[int], None]
) -> Finding | None:
    """What is wrong with `episode`; None when all is well. `spend` is told the bytes of each piece that was read."""
    try:
        stored = store.open(episode.key)
        if stored is None:
            return Finding(episode, MISSING, "there is no such file")
        with stored:
            return _look(episode, stored, max_decompressed_bytes, spend)
    except (ReceiverError, OSError) as exc:
        return Finding(episode, UNREADABLE, f"it cannot be read: {exc.__cause__ or exc}")


def _look(
    episode: Episode, stored: OpenEpisode, max_decompressed_bytes: int, spend: Callable[[int], None]
) -> Finding | None:
    if stored.size_bytes != episode.size_bytes:
        return Finding(
            episode, CHANGED, f"{stored.size_bytes} bytes are stored, {episode.size_bytes} were acknowledged"
        )
    limits = archive.for_whole(stored.size_bytes, decompressed_bytes=max_decompressed_bytes)
    stream = _Hashed(stored.stream, spend)
    problem = None
    try:
        whole = archive.read_whole(stream, limits)
    except archive.BeyondLimit as exc:
        return Finding(episode, UNFINISHED, f"it was not looked at as a whole: {exc}")
    except archive.ArchiveError as exc:
        problem = str(exc)
    # What was damaged here is nothing to blame its host for.
    if (actual := stream.hexdigest()) != episode.sha256:
        return Finding(episode, CHANGED, f"its SHA-256 is {actual}, {episode.sha256} was acknowledged")
    if problem is not None:
        return Finding(episode, UNOPENABLE, problem)
    if whole.meta is None:
        return Finding(episode, MISLABELLED, str(whole.meta_problem))
    phrases = disagreements(episode, whole.meta) + lacking(episode, whole.meta)
    return Finding(episode, MISLABELLED, "; ".join(phrases)) if phrases else None


class _Hashed:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: BinaryIO, spend: Callable[[int], None]) -> None:
        self._stream = stream
        self._spend = spend
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """See `archive.frames.Readable.read`."""
        piece = self._stream.read(size)
        self._digest.update(piece)
        self._spend(len(piece))
        return piece

    def hexdigest(self) -> str:
        """Of the whole stream, whose rest is read."""
        while self.read(_STEP):
            pass
        return self._digest.hexdigest()

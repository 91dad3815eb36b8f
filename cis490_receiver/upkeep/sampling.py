"""A part of the episodes for each run, so that a number of runs has them all."""

from __future__ import annotations

import hashlib
import math
from typing import Final

from cis490_receiver.models import EpisodeKey

#: Episodes lie on a circle of so many points, by a hash of their names.
_POINTS: Final = 1 << 32


class Sample:
    """The part of run number `turn`: an arc of the circle that begins where that of the run before ended. So every
    episode is in one of ``ceil(1 / part)`` runs that follow one another, and chance decides only which come together.
    """

    def __init__(self, part: float, turn: int) -> None:
        """`part` is above 0 and at most 1."""
        self.part = part
        self._width = math.ceil(part * _POINTS)
        self._start = turn * self._width % _POINTS

    def has(self, key: EpisodeKey) -> bool:
        """Whether `key` is in it."""
        return self.distance(key) < self._width

    def distance(self, key: EpisodeKey) -> int:
        """How far `key` lies behind the beginning of the arc: of those outside, the nearest comes next."""
        digest = hashlib.sha256(str(key).encode()).digest()
        return (int.from_bytes(digest[:4]) - self._start) % _POINTS

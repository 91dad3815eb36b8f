"""How many episodes came in each of the last hours, of each host, looked up cheaply again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.monitor.facts import HOUR_NS

#: How many hours are looked at: the one that has begun, and those before it.
HOURS: Final = 24
#: An hour that is over gains nothing any more, but for what reindex or a clock that was set back brings.
_KEPT_SECONDS: Final = 300.0


class RecentArrivals:
    """The counts, those of the hours that are over kept for some minutes. Threads may share it."""

    def __init__(self, index: EpisodeIndex, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._monotonic = monotonic
        #: Until when, of which hour before, and what.
        self._kept: tuple[float, int, Mapping[str, Sequence[int]]] = (0.0, -1, {})

    def by_hour(self, now_ns: int) -> dict[str, tuple[int, ...]]:
        """Counts of the last `HOURS` hours (UTC), oldest first, for each host that sent any.

        Raises:
            StorageFailed: the index cannot be read.
        """
        hour = now_ns // HOUR_NS
        before = self._before(hour)
        current = self._index.arrivals(hour * HOUR_NS, HOUR_NS, 1)
        none = (0,) * (HOURS - 1)
        return {
            host_id: (*before.get(host_id, none), *current.get(host_id, (0,)))
            for host_id in before.keys() | current.keys()
        }

    def _before(self, hour: int) -> Mapping[str, Sequence[int]]:
        until, kept_hour, kept = self._kept
        now = self._monotonic()
        if kept_hour != hour or now >= until:
            kept = self._index.arrivals((hour - HOURS + 1) * HOUR_NS, HOUR_NS, HOURS - 1)
            self._kept = (now + _KEPT_SECONDS, hour, kept)
        return kept

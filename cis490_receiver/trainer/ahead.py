"""Reading ahead: whoever reads one episode after the other finds the next one there already."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from cis490_receiver.http_client.many import Many
from cis490_receiver.models import Episode
from cis490_receiver.trainer.supplies import FromReceiver, Supply, in_memory
from cis490_receiver.trainer.verified import Stream

#: Larger ones are streamed when they are asked for.
_LARGEST_BYTES: Final = 4 << 20
#: What is held in memory of what is to come, and how many of those that were asked for last: an episode's meta.json and
#: its telemetry are asked for one after the other.
_AHEAD_BYTES: Final = 32 << 20
_MOST_AHEAD: Final = 128
_MOST_KEPT: Final = 4
_CONNECTIONS: Final = 32


class Ahead:
    """One pass over `records`, from `supply`. Two episodes that are read in a row start it; how far it reads ahead
    grows as long as what it read is asked for, and shrinks when that was in vain."""

    def __init__(self, supply: FromReceiver, records: Sequence[Episode]) -> None:
        self._supply = supply
        self._records = records
        self._lock = threading.Lock()
        self._coming: OrderedDict[int, Future[bytes | None]] = OrderedDict()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._last = self._next = -1
        self._window = 2
        self._is_over = False
        self._many: Many | None = None
        self._pid = os.getpid()

    def at(self, position: int) -> Supply:
        """A supply for the episode at `position` alone."""
        return _At(self, position)

    def close(self) -> None:
        """Read ahead no more."""
        with self._lock:
            self._is_over = True
            self._coming.clear()
            if self._many is not None:
                self._many.close()

    def data(self, position: int) -> bytes | None:
        """The bytes of the episode at `position`, verified, if they were read ahead; others are, from now on."""
        if self._pid != os.getpid():
            # Nobody reads ahead in a process that was forked off on the way.
            return None
        with self._lock:
            if (kept := self._kept.get(position)) is not None or self._is_over:
                return kept
            coming = self._coming.pop(position, None)
            self._aim(position, asked_for=coming is not None)
            self._read_on(position)
        data = coming.result() if coming is not None else None
        if data is not None:
            with self._lock:
                self._kept[position] = data
                if len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        return data

    def _aim(self, position: int, *, asked_for: bool) -> None:
        """Decide how far to read ahead."""
        missed = [place for place in self._coming if place < position]
        for place in missed:
            del self._coming[place]
        if missed or position not in (self._last, self._last + 1):
            self._window //= 2
        elif asked_for:
            self._window = min(self._window * 2, _MOST_AHEAD)
        elif self._last >= 0:
            self._window = max(self._window, 2)
        self._last = position

    def _read_on(self, position: int) -> None:
        # Not each time: whoever reads is woken for some at once.
        if self._last <= 0 or not self._window or len(self._coming) > self._window // 2:
            return
        place = max(self._next, position + 1)
        held = sum(self._records[item].size_bytes for item in self._coming)
        wishes = []
        while place < len(self._records) and place - position <= self._window:
            record = self._records[place]
            held += record.size_bytes
            if record.size_bytes > _LARGEST_BYTES or held > _AHEAD_BYTES:
                break
            coming: Future[bytes | None] = Future()
            wish = self._supply.wish(record, coming.set_result)
            if wish is not None:
                self._coming[place] = coming
                wishes.append(wish)
            place += 1
        self._next = place
        if wishes:
            if self._many is None:
                self._many = self._supply.new_many(_CONNECTIONS)
            self._many.ask(wishes)

    def url(self, record: Episode) -> str:
        """See `Supply.url`."""
        return self._supply.url(record)

    def stream(self, position: int) -> Stream:
        """See `Supply.stream`."""
        data = self.data(position)
        return self._supply.stream(self._records[position]) if data is None else in_memory(data)

    def path(self, position: int) -> tuple[Path, bool]:
        """See `Supply.path`."""
        return self._supply.path(self._records[position], self.data(position))


class _At:
    """The supply of one episode of a pass."""

    __slots__ = ("_ahead", "_position")

    def __init__(self, ahead: Ahead, position: int) -> None:
        self._ahead = ahead
        self._position = position

    def url(self, record: Episode) -> str:
        """See `Supply.url`."""
        return self._ahead.url(record)

    def stream(self, record: Episode) -> Stream:
        """See `Supply.stream`."""
        return self._ahead.stream(self._position)

    def path(self, record: Episode, data: bytes | None = None) -> tuple[Path, bool]:
        """See `Supply.path`."""
        return self._ahead.path(self._position)

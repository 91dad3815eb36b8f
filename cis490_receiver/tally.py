"""Numbers that all worker processes add to and any of them can sum up.

The table lies in memory that the processes share: who makes it before the workers are forked makes it for all of them.
Its size never changes, since every name is known beforehand, and it is no file. So there is no folder to be writable,
nothing to tidy up, and no disk whose being full could end a process.

Each process has a row of its own and needs no lock that another one could die with. When a process has died, the next
one takes its row over and goes on from what stands there: no number is lost, and none ever goes back.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Final

from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

_CELL_BYTES: Final = 8


class Tally:
    """A table of numbers by name. Adding never raises and waits for no other process."""

    def __init__(self, counters: Sequence[str], levels: Sequence[str], *, processes: int) -> None:
        """A table for so many `processes` at once. `counters` only grow; `levels` go up and down and say what is so
        right now: those of a process that died count no more.

        Raises:
            OSError: there is no memory for it.
        """
        self._cells = {name: cell for cell, name in enumerate((*counters, *levels))}
        self._levels = {name: self._cells[name] for name in levels}
        self._processes = processes
        self._file = os.memfd_create("cis490-tally")
        weakref.finalize(self, os.close, self._file)
        size = processes * len(self._cells) * _CELL_BYTES
        # All of it now: a page that could not be had later would end the process that needs it (SIGBUS).
        os.posix_fallocate(self._file, 0, size)
        self._table: memoryview[float] = memoryview(mmap.mmap(self._file, size)).cast("d")
        self._lock = threading.Lock()
        #: Which row is this process's, and whose process that is: a forked one needs another.
        self._mine: int | None = None
        self._pid = 0
        self._row: memoryview[float] = self._table[:0]

    def add(self, name: str, amount: float = 1) -> None:
        """Add `amount`, which is negative for levels only."""
        cell = self._cells[name]
        with self._lock:
            if self._pid != os.getpid():
                self._take_row()
            # Nobody else writes here, and who reads sees the old number or the new one: 8 bytes, aligned.
            self._row[cell] += amount

    def sums(self) -> dict[str, float]:
        """Each number over all processes: counters with those of the dead, levels without."""
        with self._lock:
            alive = [self._row_at(number) for number in range(self._processes) if self._is_held(number)]
        rows = [self._row_at(number) for number in range(self._processes)]
        sums = {name: sum((row[cell] for row in rows), 0.0) for name, cell in self._cells.items()}
        return sums | {name: sum((row[cell] for row in alive), 0.0) for name, cell in self._levels.items()}

    def _row_at(self, number: int) -> memoryview[float]:
        width = len(self._cells)
        return self._table[number * width : (number + 1) * width]

    def _take_row(self) -> None:
        """Hold a row until this process ends in whatever way: the kernel keeps the lock, and a forked process has
        none of it (fcntl(2), advisory record locking)."""
        self._pid = os.getpid()
        self._mine = next((number for number in range(self._processes) if self._try_to_hold(number)), None)
        if self._mine is None:
            log.error(event("tally-full", processes=self._processes, lost="what this worker counts"))
            self._row = memoryview(bytearray(len(self._cells) * _CELL_BYTES)).cast("d")
            return
        self._row = self._row_at(self._mine)
        for cell in self._levels.values():
            self._row[cell] = 0

    def _is_held(self, number: int) -> bool:
        """Whether the process whose row it is lives."""
        if self._pid == os.getpid() and number == self._mine:
            return True
        if not self._try_to_hold(number):
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)
        return False

    def _try_to_hold(self, number: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

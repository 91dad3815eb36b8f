"""Which episodes of a release are withdrawn, without reading its table: what is withdrawn is few, and looked up."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.release_table import Name, SortedTable
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a table from others, without reading it."""

    inode: int
    size_bytes: int
    modified_ns: int


def identity(stream: BinaryIO) -> Identity:
    """The table that is open as `stream`."""
    status = os.fstat(stream.fileno())
    return Identity(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(slots=True)
class _Known:
    """What a table has of the names that were withdrawn at a state of the withdrawals; None when it is damaged."""

    withdrawn: frozenset[Name]
    members: set[Name] | None


class WithdrawnSince:
    """Remembers what it found: when withdrawals changed, only what came is looked up. Threads may share it."""

    def __init__(self, index: LocalIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._state: object = None
        self._withdrawn: frozenset[Name] = frozenset()
        self._known: dict[Identity, _Known] = {}

    def of(self, stream: BinaryIO) -> set[Name] | None:
        """The withdrawn episodes of the table that is open as `stream`; None when the table is damaged."""
        with self._lock:
            self._follow()
            this = identity(stream)
            known = self._known.get(this)
            if known is None:
                known = self._known[this] = _Known(frozenset(), set())
            if known.withdrawn is not self._withdrawn:
                came, went = self._withdrawn - known.withdrawn, known.withdrawn - self._withdrawn
                found = _of_these(stream, this.size_bytes, came)
                lost = known.members is None or found is None
                known.members = None if lost else ((known.members or set()) - went) | (found or set())
                known.withdrawn = self._withdrawn
            return known.members

    def _follow(self) -> None:
        # The state first: what comes between is looked at again.
        state = self._index.withdrawals_state()
        if state != self._state:
            self._withdrawn = frozenset(self._index.withdrawn_names() if state else ())
            self._state = state


def _of_these(stream: BinaryIO, size_bytes: int, names: Iterable[Name]) -> set[Name] | None:
    try:
        return set(SortedTable(stream.fileno(), size_bytes).of_these(sorted(names)))
    except ValueError as exc:
        log.warning(event("release-damaged", table=os.path.basename(str(stream.name)), reason=exc))
        return None

"""Which episodes of a release are withdrawn, without reading its table: what is withdrawn is few, and looked up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cis490_receiver.index.release_table import Name, SortedTable
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

_NONE: frozenset[Name] = frozenset()


class WithdrawnNames(Protocol):
    """What an index knows of withdrawals."""

    def withdrawn_names(self) -> Sequence[Name]:
        """Host and episode of all that is withdrawn now, of episodes with or without a record."""
        ...

    def withdrawals_state(self) -> object:
        """Something that is another after every withdrawal; false while there was none."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """What a table has of the names that were withdrawn at a state of the withdrawals; None when it is damaged."""

    withdrawn: frozenset[Name]
    members: frozenset[Name] | None


class WithdrawnSince:
    """Remembers what it found: when withdrawals changed, only what came is looked up. Threads may share it, and none
    waits for another's table: each may look up the same."""

    def __init__(self, index: WithdrawnNames) -> None:
        self._index = index
        self._now: tuple[object, frozenset[Name]] = (None, _NONE)
        self._known: dict[Hashable, _Known] = {}

    def of(
        self, identity: Hashable, name: str, open_table: Callable[[], SortedTable]
    ) -> frozenset[Name] | None:
        """The withdrawn episodes of a release's table; None when the table is damaged.

        Args:
            identity: tells the table from all others, without its being read.
            name: the release's, for the log.
            open_table: is called where something is to be looked up; what it raises passes.
        """
        withdrawn = self._withdrawn()
        known = self._known.get(identity, _Known(_NONE, _NONE))
        if known.withdrawn is not withdrawn:
            members = known.members
            came = withdrawn - known.withdrawn
            found = _of_these(open_table(), name, came) if came else _NONE
            lost = members is None or found is None
            members = None if lost else ((members or _NONE) & withdrawn) | (found or _NONE)
            known = self._known[identity] = _Known(withdrawn, members)
        return known.members

    def _withdrawn(self) -> frozenset[Name]:
        # The state first: what comes between is looked at again.
        state = self._index.withdrawals_state()
        if state != self._now[0]:
            self._now = (state, frozenset(self._index.withdrawn_names() if state else ()))
        return self._now[1]


def _of_these(table: SortedTable, name: str, names: Iterable[Name]) -> frozenset[Name] | None:
    try:
        return frozenset(table.of_these(sorted(names)))
    except ValueError as exc:
        log.warning(event("release-damaged", name=name, reason=exc))
        return None

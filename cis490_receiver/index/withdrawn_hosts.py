"""How many of each host's episodes are withdrawn, counted again only when that may have changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver.filters import Filters
from cis490_receiver.index import sums
from cis490_receiver.index.base import OpenJournal
from cis490_receiver.index.position import Position, position_of

_ALL: Final = -1


@dataclass(frozen=True, slots=True)
class _Counted:
    """Attributes:
    withdrawals: how far withdrawn.jsonl was read.
    index: how far the index was.
    is_complete: whether all that is withdrawn had a record, so that new records change nothing.
    """

    withdrawals: tuple[Any, ...]
    index: Position
    is_complete: bool
    by_host: Mapping[str, int]


class WithdrawnHosts:
    """The counts of one index. Threads may use it at once."""

    def __init__(self) -> None:
        self._known: _Counted | None = None

    def read(self, connection: sqlite3.Connection, journal: OpenJournal) -> Mapping[str, int]:
        """The counts as the catalog `connection` has them, of hosts that have any. Costs what there are withdrawn
        episodes after a withdrawal, and next to nothing else."""
        known = self._known
        withdrawals = connection.execute("SELECT * FROM main.withdrawn_position").fetchone()
        here = max(
            position_of(connection, "main.base"),
            position_of(connection, "main.position"),
            key=lambda p: p.offset,
        )
        if (
            known is not None
            and known.withdrawals == withdrawals
            and (known.index == here or (known.is_complete and known.index.is_in(journal)))
        ):
            return known.by_host
        totals = sums.totals(connection, Filters(withdrawn="only"), ("host_id",), _ALL)
        by_host = {str(total.group["host_id"]): total.episodes for total in totals}
        named = connection.execute("SELECT count(*) FROM main.withdrawn").fetchone()[0]
        self._known = _Counted(withdrawals, here, sum(by_host.values()) == named, by_host)
        return by_host

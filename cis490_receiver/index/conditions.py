"""Filters as conditions of SQL on the catalog's rows."""

from __future__ import annotations

from typing import Any

from cis490_receiver.filters import Filters
from cis490_receiver.index.withdrawals import CONDITIONS


def conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    """SQL conditions and their values. A host, else a commit, leaves so few rows that the other filters are to be
    tried on these; the unary + keeps SQLite from taking an index of theirs instead (query planner, §5)."""
    given = filters.conditions()
    columns = [column for column, _, _ in given]
    narrow = next((name for name in ("host_id", "code_commit") if name in columns), None)
    where = [
        f"{'+' if comparison == '=' and narrow and column != narrow else ''}{column} {comparison} ?"
        for column, comparison, _ in given
    ]
    if filters.withdrawn in CONDITIONS:
        where.append(CONDITIONS[filters.withdrawn])
    return where, [value for _, _, value in given]

"""`index.catalog`: it is made in steps, and has all of its indexes at the end, whatever came between."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import make_index
from cis490_receiver.index import catalog, catalog_rows
from cis490_receiver.index.catalog import Catalog
from cis490_receiver.index.journal import Journal

LINES = 2000


def count(connection: sqlite3.Connection) -> tuple[int, int]:
    row = connection.execute("SELECT sum(episodes), count(*) FROM hosts").fetchone()
    return row[0], row[1]


@pytest.mark.parametrize("left", [1, 9 << 10, 100 << 10, 500 << 10])
def test_one_that_was_broken_off_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(catalog, "_SHARED_STEP", 64 << 10)
    monkeypatch.setattr(catalog, "_KEPT_IN_MEMORY", 8 << 10)
    make_index.make(tmp_path, LINES)
    file = tmp_path / "catalog.db"
    first = Catalog(file, Journal(tmp_path / "index.jsonl"))

    def break_off(done: int, total: int) -> None:
        if total - done < left:
            raise KeyboardInterrupt

    first.on_read = break_off
    with pytest.raises(KeyboardInterrupt):
        first.read(count)
    first.close()
    second = Catalog(file, Journal(tmp_path / "index.jsonl"))
    assert second.read(count) == (LINES, make_index.HOSTS)
    second.close()
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
        kept = connection.execute("SELECT count(*) FROM episodes").fetchone()[0]
    assert catalog_rows._INDEXES.keys() <= {name for (name,) in found} and kept == LINES

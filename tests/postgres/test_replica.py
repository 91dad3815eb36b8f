"""`index.postgres.replica`: the copy of the index's lines says what the rows say, whatever happened to either."""

from __future__ import annotations

from pathlib import Path

import pytest

from cis490_receiver.errors import DatabaseUnavailable, StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.index.postgres import replica
from cis490_receiver.postgres.pool import Database
from tests.contract.places import NotedIndex, content, database_of, key, record, sha256
from tests.support import postgres


@pytest.fixture
def url() -> str:
    return postgres.shared().migrated()


def lines(index: NotedIndex) -> tuple[bytes, str]:
    journal = index.open_journal()
    with journal.stream:
        return journal.stream.read(journal.end), journal.generation


def test_a_copy_that_is_torn_or_gone_is_made_good(url: str, tmp_path: Path) -> None:
    index = NotedIndex(tmp_path, database_of(url))
    for number in range(3):
        assert index.append(record(number))
    before = lines(index)
    (copy,) = (tmp_path / replica.FOLDER).glob("index-*.jsonl")
    # As a full disk leaves it: the end of a line is missing.
    copy.write_bytes(before[0][:-10])
    assert lines(index) == before and index.count(Filters()) == 3
    copy.unlink()
    assert lines(index) == before and index.count(Filters()) == 3


def test_after_a_crash_of_the_machine_the_copy_is_made_anew(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = NotedIndex(tmp_path, database_of(url))
    index.append(record(1))
    before = lines(index)
    (copy,) = (tmp_path / replica.FOLDER).glob("index-*.jsonl")
    # What a power cut leaves of what was not synced: the length, and zeros.
    copy.write_bytes(bytes(len(before[0])))
    (tmp_path / "boot_id").write_text("another boot\n")
    monkeypatch.setattr(replica, "_BOOT_ID", tmp_path / "boot_id")
    assert lines(NotedIndex(tmp_path, database_of(url))) == before


def test_a_database_that_went_back_in_time_is_another_generation(url: str, tmp_path: Path) -> None:
    index, other = (NotedIndex(tmp_path / name, database_of(url)) for name in ("one", "two"))
    for number in range(3):
        index.append(record(number))
    before, generation = lines(index)
    last = len(record(2).to_line())
    server = postgres.shared()
    for sql in (
        f"DELETE FROM journal WHERE line_offset >= {len(before) - last}",
        f"UPDATE journal_head SET end_offset = end_offset - {last}",
        "DELETE FROM episodes WHERE episode_id = 'e0002'",
    ):
        server.ask(sql, url)
    # Whatever follows is longer than what was taken back.
    other.append(record(3))
    other.append(record(4))
    text, now = lines(index)
    assert now != generation and lines(other) == (text, now)
    assert text == before[:-last] + record(3).to_line() + record(4).to_line()
    assert index.find(key(2)) is None and index.count(Filters()) == 4


def test_an_upload_whose_note_was_collected_is_no_episode(url: str, tmp_path: Path) -> None:
    index = NotedIndex(tmp_path, database_of(url))
    index.placements.register(key(1), "an-object")
    assert index.placements.give_up("an-object")
    with pytest.raises(StorageFailed, match="took too long"):
        index.append(record(1), "an-object")
    assert index.find(key(1)) is None and lines(index)[0] == b""
    # What is stored is stored, however often it is said.
    index.placements.register(key(2), "object-2")
    assert index.append(record(2), "object-2") and index.append(record(2), "object-2")
    assert not index.placements.give_up("object-2")
    assert not index.append(record(2)) and lines(index)[0] == record(2).to_line()
    placement = index.placements.confirm(key(2))
    assert placement is not None
    assert (placement.sha256, placement.size_bytes) == (sha256(content(2)), len(content(2)))
    # Put aside, the name is free, and what was put aside is nobody's to delete.
    assert index.placements.set_aside(key(2), "object-2")
    assert not index.placements.give_up("object-2")
    assert index.placements.unknown(["object-2", "nobody-knows"]) == {"nobody-knows"}
    assert index.append(record(2)) and index.count(Filters()) == 1


def test_a_line_that_no_standby_has_is_shown_to_nobody(tmp_path: Path) -> None:
    """It can be seen, and the loss of its machine takes it away again: another line would come in its place."""
    server = postgres.Server()
    url = server.migrated()
    database = Database(url, commit_seconds=0.5)
    try:
        index = NotedIndex(tmp_path, database)
        assert index.append(record(1))
        before = lines(index)
        index.placements.register(key(2), "object-2")
        require_standby(server, "ANY 1 (away)")
        # The commit is made, its wait is broken off, and its writer is told that it may be lost.
        with pytest.raises(DatabaseUnavailable):
            index.append(record(2), "object-2")
        assert server.ask("SELECT count(*) FROM journal", url) == [(2,)]
        for promise in (lambda: index.placements.confirm(key(2)), index.check_writable):
            with pytest.raises(DatabaseUnavailable):
                promise()
        # Also by one that knows nothing but what was noted, and has waited for no commit.
        for one in (index, NotedIndex(tmp_path / "other", database), index):
            assert lines(one) == before
        require_standby(server, "")
        assert lines(index) == (before[0] + record(2).to_line(), before[1])
    finally:
        database.close()
        server.remove()


def require_standby(server: postgres.Server, names: str) -> None:
    """Let commits wait for the standby that `names` names."""
    server.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    server.ask("SELECT pg_reload_conf()")
    while server.ask("SHOW synchronous_standby_names") != [(names,)]:
        pass

"""index.jsonl: whole lines, whatever happened to the last one; and the catalog that follows it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cis490_receiver.filters import Filters
from cis490_receiver.index.catalog import IDLE_CONNECTIONS
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.stamps import Stamps


def record(number: int, host: str = "h", size: int = 1) -> Episode:
    upload = Upload(EpisodeKey(host, f"e{number}"), f"{number:064x}", Stamps(code_commit=f"{number:040x}"))
    return Episode.from_upload(upload, size_bytes=size, received_at_ns=1_700_000_000_000_000_000 + number)


#: What is larger than any number that a database takes.
HUGE = record(99).to_line().replace(b'"size_bytes":1,', b'"size_bytes":%d,' % 10**30)


def lines(folder: Path) -> list[Episode]:
    return [Episode.from_line(line) for line in (folder / "index.jsonl").read_bytes().splitlines()]


def append_many(folder: Path, first: int) -> None:
    index = LocalIndex(folder)
    for number in range(first, first + 100):
        index.append(record(number))


def test_processes_that_append_at_once_lose_no_line(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(append_many, [tmp_path] * 4, range(0, 400, 100)))
    assert {episode.episode_id for episode in lines(tmp_path)} == {f"e{n}" for n in range(400)}
    assert len(LocalIndex(tmp_path).page(Filters(), limit=1000, cursor=None).episodes) == 400


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(record(2).to_line())))
def test_a_torn_last_line_is_healed_by_the_next_writer(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    index = LocalIndex(folder)
    index.append(record(1))
    whole = (folder / "index.jsonl").stat().st_size
    with (folder / "index.jsonl").open("ab") as journal:
        journal.write(record(2).to_line()[:cut])
    journal = index.open_journal()
    journal.stream.close()
    assert journal.end == whole + (cut if cut == len(record(2).to_line()) else 0)
    index.append(record(3))
    # A line that lacks only its newline is a whole record: it is kept.
    kept = [1, 2, 3] if cut >= len(record(2).to_line()) - 1 else [1, 3]
    assert lines(folder) == [record(n) for n in kept]
    assert [e.episode_id for e in index.page(Filters(), limit=9, cursor=None).episodes] == [
        f"e{n}" for n in reversed(kept)
    ]


def test_the_catalog_follows_appends_swaps_cuts_edits_and_its_own_loss(tmp_path: Path) -> None:
    index, path = LocalIndex(tmp_path), tmp_path / "index.jsonl"

    def seen() -> list[str]:
        found = [e.episode_id for e in index.page(Filters(), limit=99, cursor=None).episodes]
        assert sum(host.episodes for host in index.hosts()) == len(found)
        return found[::-1]

    for number in range(3):
        index.append(record(number))
    assert seen() == ["e0", "e1", "e2"]
    assert index.find(EpisodeKey("h", "e1")) == record(1)

    other = tmp_path / "swapped"
    other.write_bytes(record(5).to_line() + b"no record\n" + record(6).to_line() + HUGE)
    os.replace(other, path)
    assert seen() == ["e5", "e6"]

    os.truncate(path, len(record(5).to_line()))
    assert seen() == ["e5"]

    with path.open("r+b") as journal:  # in place, and longer than before
        journal.write(record(7).to_line() + record(8).to_line())
    assert seen() == ["e7", "e8"]

    for name in tmp_path.glob("catalog*"):
        name.unlink()
    index.append(record(9))
    assert seen() == ["e7", "e8", "e9"]

    (tmp_path / "catalog.db").write_bytes(b"this is no database" * 1000)
    assert seen() == ["e7", "e8", "e9"]


def test_hosts_are_summed_up(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path)
    for number, host, size in [(1, "a", 10), (2, "b", 20), (3, "a", 30)]:
        index.append(record(number, host, size))
    index.append(record(3, "a", 5))  # the same name again: the last line counts
    a, b = index.hosts()
    assert (a.host_id, a.episodes, a.size_bytes, a.last_episode_id) == ("a", 2, 15, "e3")
    assert (a.first_received_at_ns, a.last_received_at_ns) == (
        record(1).received_at_ns,
        record(3).received_at_ns,
    )
    assert (b.host_id, b.episodes, b.last_code_commit) == ("b", 1, f"{2:040x}")


def test_many_readers_at_once_leave_few_connections_and_each_sees_everything(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path)
    index.prepare()
    barrier = threading.Barrier(24)

    def read(number: int) -> bool:
        index.append(record(number))
        barrier.wait(30)
        return all(index.find(record(other).key) is not None for other in range(24))

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(read, range(24)))
    # Each holds pages of the file in memory.
    assert 1 <= len(index._catalog._idle) <= IDLE_CONNECTIONS
    index.close()
    assert not index._catalog._idle


def test_what_is_on_disk_is_not_kept_in_memory_too(tmp_path: Path) -> None:
    """The first reader of a long journal makes the catalog; what is appended then stays in memory until it is much."""
    index = LocalIndex(tmp_path)
    index.prepare()
    with index.journal.path.open("ab") as journal:
        journal.writelines(record(number).to_line() for number in range(4000))

    def rows() -> tuple[int, int, int]:
        sql = (
            "SELECT (SELECT count(*) FROM disk.episodes), (SELECT count(*) FROM main.episodes), "
            "(SELECT count(*) FROM episodes)"
        )
        return index._catalog.read(lambda connection: connection.execute(sql).fetchone())

    assert rows() == (4000, 0, 4000)
    index.append(record(4000))
    # A line of a name that is there already takes the place of the one on disk.
    index.append(record(7, size=5))
    assert rows() == (4000, 2, 4001)
    assert (found := index.find(record(7).key)) is not None and found.size_bytes == 5
    [host] = index.hosts()
    assert (host.episodes, host.size_bytes) == (4001, 4005)
    again = LocalIndex(tmp_path)
    assert again.hosts() == [host]
    index.close()
    again.close()

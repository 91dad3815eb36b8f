"""A few episodes are looked at in each run, and what is wrong is not forgotten by the next."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cis490_receiver.index.local import LocalIndex
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.monitor.presence import Presence, look, recall, remember
from cis490_receiver.state.marks import PRESENCE_FILE, MemoFile
from cis490_receiver.storage.inventory import FilesystemInventory

HOUR = 3600 * 10**9
NOW = time.time_ns()


class Counting(FilesystemInventory):
    """Knows how often it was asked."""

    asked = 0

    def size_of(self, key: EpisodeKey) -> int | None:
        self.asked += 1
        return super().size_of(key)


class Shelf:
    """A data folder with `count` episodes of one host, the last one the newest, looked at in runs."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.inventory = Counting(folder)
        self.choose = random.Random(1)
        (folder / "episodes" / "h").mkdir(parents=True)
        self.index = LocalIndex(folder)
        lines = b""
        for number in range(count):
            upload = Upload(EpisodeKey("h", f"e{number}"), "a" * 64)
            lines += Episode.from_upload(upload, size_bytes=3, received_at_ns=NOW - count + number).to_line()
            self.path(number).write_bytes(b"abc")
        (folder / "index.jsonl").write_bytes(lines)

    def path(self, number: int) -> Path:
        return self.folder / "episodes" / "h" / f"e{number}.tar.zst"

    def run(self, *, now_ns: int = NOW, monotonic: Callable[[], float] = lambda: 0.0) -> Presence:
        found = look(
            self.index,
            self.inventory,
            recall(memo(self.folder)),
            now_ns=now_ns,
            choose=self.choose,
            monotonic=monotonic,
        )
        remember(memo(self.folder), found)
        return found


def memo(folder: Path) -> MemoFile:
    return MemoFile(folder / PRESENCE_FILE)


def key(number: int) -> EpisodeKey:
    return EpisodeKey("h", f"e{number}")


def test_nothing_is_missing(tmp_path: Path) -> None:
    assert Shelf(tmp_path / "none", 0).run() == Presence()
    assert Shelf(tmp_path / "few", 30).run() == Presence(looked=30)
    assert not (tmp_path / "few" / "presence.json").exists()


def test_a_run_looks_at_the_newest_and_a_few_others_however_many_there_are(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 5000)
    for number in (4999, 4950):
        shelf.path(number).unlink()
    found = shelf.run()
    assert set(found.missing) == {key(4999), key(4950)}
    assert 90 < found.looked <= 100
    assert shelf.inventory.asked <= 100 + 20


def test_one_old_episode_is_missed_in_time_and_not_forgotten_until_it_is_back(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 500)
    shelf.path(7).unlink()
    runs = 0
    while not (found := shelf.run()).missing:
        runs += 1
        assert runs < 200
    assert found.missing == (key(7),)
    assert all(shelf.run().missing == (key(7),) for _ in range(20))
    shelf.path(7).write_bytes(b"abc")
    assert shelf.run().missing == ()
    assert recall(memo(tmp_path)) == Presence()


def test_all_gone_is_seen_whatever_the_folder_became(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 200)
    for number in range(200):
        shelf.path(number).unlink()
    found = shelf.run()
    assert len(found.missing) == found.looked > 70
    shelf.path(0).parent.rmdir()
    found = shelf.run()
    assert len(found.missing) == found.looked > 70
    # Restored in part: what was found wrong is well again, and others are found.
    shelf.path(0).parent.mkdir()
    for number in range(100, 200):
        shelf.path(number).write_bytes(b"abc")
    assert 0 < len(shelf.run().missing) < 100


def test_bytes_that_were_lost_or_something_else_under_the_name_are_no_episode(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 3)
    shelf.path(0).write_bytes(b"")
    shelf.path(1).unlink()
    shelf.path(1).symlink_to(shelf.path(2))
    shelf.path(2).unlink()
    shelf.path(2).mkdir()
    found = shelf.run()
    assert found.other_length == (key(0),)
    assert set(found.missing) == {key(1), key(2)}


def test_what_is_quarantined_is_not_missing_unless_it_was_shipped_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 3)
    aside = tmp_path / "quarantine" / "h"
    aside.mkdir(parents=True)
    shelf.path(0).rename(aside / f"e0.{NOW + 1}.tar.zst")
    shelf.path(1).rename(aside / f"e1.{NOW - HOUR}.tar.zst")  # an older copy: this one came later
    shelf.path(2).rename(aside / f"e2.x.{NOW + 1}.tar.zst")  # of the episode e2.x
    assert set(shelf.run().missing) == {key(1), key(2)}
    # Its line is set aside: it is no business of the index any more.
    (tmp_path / "index.jsonl").write_bytes(b"")
    assert shelf.run() == Presence()


def test_it_takes_a_bounded_time_and_never_skips_what_was_wrong(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 500)
    ticks = iter(range(10_000))
    found = shelf.run(monotonic=lambda: float(next(ticks)))
    assert 0 < found.looked <= 4 * 8
    for number in range(300, 320):
        shelf.path(number).unlink()
    wrong = tuple(key(number) for number in range(300, 320))
    remember(memo(tmp_path), Presence(missing=wrong))
    slow = shelf.run(monotonic=lambda: float(next(ticks)))
    assert set(slow.missing) >= set(wrong) and slow.looked <= 20 + 4 * 8


def test_files_without_a_line_are_seen_once_they_are_no_upload_under_way(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 30)
    (tmp_path / "index.jsonl").write_bytes(b"")
    assert shelf.run() == Presence()
    assert len(shelf.run(now_ns=NOW + 2 * HOUR).unindexed) == 20
    assert len(shelf.run().unindexed) == 20  # remembered
    for number in range(30):
        shelf.path(number).unlink()
    assert shelf.run() == Presence()


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"faulty": [["../x", "e"]], "unindexed": []}'])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "presence.json").write_text(text)
    assert recall(memo(tmp_path)) == Presence()

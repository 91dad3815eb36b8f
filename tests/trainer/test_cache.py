"""The trainer's cache: bounded, shared by processes, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cis490_receiver.trainer import Dataset, Episode
from tests.support.archives import Archive, make_episode
from tests.support.receiver import TOKEN, Receiver
from tests.trainer.spoiling import between, flip, whole

COUNT = 12
SIZE = 30_000


@pytest.fixture(scope="module")
def filled(shared_receiver: Receiver) -> Iterator[Receiver]:
    for number in range(COUNT):
        assert shared_receiver.put("h", f"e{number:02}", archive(number)).status == 201
    yield shared_receiver


def archive(number: int) -> Archive:
    return make_episode(number, size=SIZE)


def dataset(receiver: Receiver, cache: Path, cache_bytes: int = 10**9) -> Dataset:
    return Dataset(f"http://127.0.0.1:{receiver.port}", TOKEN, cache=cache, cache_bytes=cache_bytes)


def cached(folder: Path) -> dict[str, int]:
    """The digests and sizes of what is in the cache, whole or on its way."""
    found = {}
    for path in [*folder.glob("??/*"), *folder.glob("partial/*")]:
        try:
            found[path.name[:64]] = path.stat().st_size
        except FileNotFoundError:
            continue
    return found


READ = """
import json, random, sys
from cis490_receiver.trainer import Dataset
address, token, cache, limit, seed, count = sys.argv[1:]
data = Dataset(address, token, cache=cache, cache_bytes=int(limit))
places = list(range(len(data)))
random.Random(int(seed)).shuffle(places)
for place in places[:int(count)] * 2 if int(limit) < 10**9 else places:
    episode = data[place]
    assert len(episode.read_bytes("telemetry.bin")) == 30000, place
    assert episode.path().stat().st_size == episode.size_bytes or int(limit) < 10**9
"""


def readers(address: str, cache: Path, limit: int, count: int = COUNT) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", READ, address, TOKEN, cache, str(limit), str(seed), str(count)]
        )
        for seed in range(3)
    ]


def test_processes_that_read_the_same_fetch_it_once(filled: Receiver, tmp_path: Path) -> None:
    with between(filled, whole) as (address, asked):
        assert [process.wait(60) for process in readers(address, tmp_path, 10**9)] == [0, 0, 0]
    assert len(asked) == COUNT
    assert sum(cached(tmp_path).values()) == sum(len(archive(number).data) for number in range(COUNT))


def test_it_never_holds_more_than_it_may_whoever_uses_it(filled: Receiver, tmp_path: Path) -> None:
    limit = 4 * SIZE
    seen, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            seen.append(sum(cached(tmp_path).values()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        address = f"http://127.0.0.1:{filled.port}"
        assert [process.wait(60) for process in readers(address, tmp_path, limit, 6)] == [0, 0, 0]
    finally:
        over.set()
        watcher.join()
    assert SIZE < max(seen) <= limit
    # A count that a crash left too high is mended when it is in the way.
    (tmp_path / "used").write_text(str(limit))
    path = dataset(filled, tmp_path, limit)[0].path()
    assert path.is_relative_to(tmp_path) and int((tmp_path / "used").read_text()) <= limit


def test_what_was_used_least_recently_goes_and_what_is_in_use_stays(filled: Receiver, tmp_path: Path) -> None:
    episodes = dataset(filled, tmp_path, 4 * 31_000)
    for place in range(3):
        episodes[place].load()
    held = episodes[1].open_archive()
    episodes[0].load()
    pinned = episodes[2].path()
    for place in range(3, 6):
        episodes[place].load()
        # Each used later than the one before, to the clock's grain.
    here = cached(tmp_path)
    assert episodes[1].sha256 not in here and episodes[2].sha256 in here
    assert held.read() == archive(1).data and pinned.read_bytes() == archive(2).data
    held.close()


def test_an_episode_that_does_not_fit_is_read_all_the_same(filled: Receiver, tmp_path: Path) -> None:
    episode = dataset(filled, tmp_path, 1000)[0]
    assert len(episode.read_bytes("telemetry.bin")) == SIZE
    path = episode.path()
    assert path.read_bytes() == archive(0).data and cached(tmp_path) == {}
    del episode
    assert not path.exists()


def test_what_a_crash_spoilt_is_fetched_anew(filled: Receiver, tmp_path: Path) -> None:
    path = dataset(filled, tmp_path)[0].path()
    path.write_bytes(flip(path.read_bytes()))
    assert dataset(filled, tmp_path)[0].path().read_bytes() == archive(0).data
    path.write_bytes(b"")
    assert dataset(filled, tmp_path)[0].load().keys() == {"meta.json", "telemetry.bin"}
    # What was on its way.
    path.unlink()
    (tmp_path / "partial" / f"{archive(0).sha256}.{len(archive(0).data)}").write_bytes(b"\0" * 500)
    assert dataset(filled, tmp_path)[0].path().read_bytes() == archive(0).data


def test_nobody_waits_for_himself_or_for_ever(
    filled: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = dataset(filled, tmp_path)[0]
    with episode.open("telemetry.bin") as stream:
        stream.read(100)
        assert episode.meta["schema_version"] == 2
        monkeypatch.setattr("cis490_receiver.trainer.cache.STALL_SECONDS", 0.1)
        thread_saw: list[int] = []
        thread = threading.Thread(target=lambda: thread_saw.append(len(dataset(filled, tmp_path)[0].load())))
        thread.start()
        thread.join()
        assert thread_saw == [2]
        assert len(stream.read()) == SIZE - 100
    assert cached(tmp_path) == {episode.sha256: episode.size_bytes}


def test_a_full_disk_is_no_reason_not_to_read(filled: Receiver, tmp_path: Path) -> None:
    code = (
        "import json, resource, sys; from cis490_receiver.trainer import Dataset\n"
        "data = Dataset(sys.argv[1], sys.argv[2], cache=sys.argv[3])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "print(json.dumps([len(item.read_bytes('telemetry.bin')) for item in data]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"http://127.0.0.1:{filled.port}", TOKEN, tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [SIZE] * COUNT and not list(tmp_path.glob("??/*"))


def test_where_it_is_by_default(filled: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{filled.port}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Dataset(address, TOKEN)[0].path().is_relative_to(tmp_path / "cis490-receiver")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="nothing is cached"):
        data = Dataset(address, TOKEN)
    first: Episode = data[0]
    assert first.meta and os.path.exists(first.path())

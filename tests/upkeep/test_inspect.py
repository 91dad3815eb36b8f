"""inspect: what does not open is out of the training set within one run, once for all, and nothing is passed over."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import html
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import zstandard

from cis490_receiver.backends import Backends, open_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.stamps import Stamps
from cis490_receiver.state.base.inspections import MAX_AGAIN, Inspected
from cis490_receiver.storage.base import OpenEpisode
from cis490_receiver.upkeep.inspect import Inspection, Report
from cis490_receiver.upkeep.reindex import Reindexer
from cis490_receiver.upkeep.settle import Ledger
from cis490_receiver.upkeep.throttle import Throttle
from cis490_receiver.withdrawal import Withdrawal
from tests.support.archives import Archive, make_episode, pack
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment
from tests.upkeep.test_verify import locks_waited_for, open_files

NO_ARCHIVE = Archive(b"never was one")


def inspect(data_dir: Path, *options: str, status: int = 0, **settings: object) -> dict[str, Any]:
    done = subprocess.run(
        [str(BIN / "cis490-receiver"), "inspect", "--json", *options],
        env=clean_environment(data_dir=data_dir, **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def command(data_dir: Path, *words: str) -> None:
    environment = clean_environment(data_dir=data_dir)
    subprocess.run([BIN / "cis490-receiver", *words], env=environment, check=True, stdout=subprocess.DEVNULL)


def kinds(told: dict[str, Any]) -> dict[str, str]:
    return {found["episode_id"]: found["kind"] for found in told["findings"]}


def listed(receiver: Receiver) -> set[str]:
    episodes = receiver.request("GET", "/v1/episodes", headers=AUTH).json["episodes"]
    return {item["episode_id"] for item in episodes}


def stamped(number: int) -> dict[str, str]:
    """What the upload of `make_episode(number)` says of it."""
    return {
        "X_Cis490_Code_Commit": f"{number:040x}",
        "X_Episode_Type": "control",
        "X_Benign_Profile": "idle",
    }


def test_what_does_not_open_is_out_of_the_listing_within_one_run(receiver: Receiver) -> None:
    for number, name in enumerate(["good", "rotten", "lies", "short"]):
        assert receiver.put("h", name, make_episode(number, size=50_000), **stamped(number)).status == 201
    receiver.put("other", "junk", NO_ARCHIVE)
    receiver.put("other", "lies", make_episode(9), X_Episode_Type="infected")
    rotten = receiver.data_dir / "episodes" / "h" / "rotten.tar.zst"
    data = bytearray(rotten.read_bytes())
    # What does not compress stands there as it is, and without a checksum: a decoder takes it for good.
    data[20_000] ^= 1
    data[30_000] ^= 1
    assert zstandard.ZstdDecompressor().decompress(data)
    rotten.write_bytes(data)
    (receiver.data_dir / "episodes" / "h" / "short.tar.zst").write_bytes(b"")

    tried = inspect(receiver.data_dir, "--dry-run", status=1)
    assert listed(receiver) == {"good", "rotten", "lies", "short", "junk"}
    assert not (receiver.data_dir / "inspection.json").exists()
    told = inspect(receiver.data_dir, status=1)
    assert told["findings"] == tried["findings"] and told["looked"] == 6
    assert listed(receiver) == {"good", "lies"}
    assert told["withdrawn"] == 3 and told["complete"] is True
    [junk] = [found for found in told["findings"] if found["episode_id"] == "junk"]
    assert (junk["kind"], junk["detail"]) == ("unopenable", "not a zstd frame")
    [lies] = [found for found in told["findings"] if found["kind"] == "mislabelled"]
    assert lies["host_id"] == "other"
    assert "episode_type is 'control' in meta.json, 'infected' in the index" in lies["detail"]
    assert "X-Cis490-Code-Commit" in lies["detail"]
    assert kinds(told) | {"lies": ""} == {
        "rotten": "changed",
        "short": "changed",
        "junk": "unopenable",
        "lies": "",
    }

    lines = [json.loads(line) for line in (receiver.data_dir / "withdrawn.jsonl").read_text().splitlines()]
    assert {line["by"] for line in lines} == {"inspection"} and len(lines) == 3
    # The acknowledged bytes are never touched, nor is the index.
    assert rotten.read_bytes() == data and len(receiver.index()) == 6
    assert inspect(receiver.data_dir)["looked"] == 0
    see_what_is_told_of_it(receiver)
    # Each is read once: what comes now is, nothing else.
    receiver.put("h", "new", make_episode(7), **stamped(7))
    assert inspect(receiver.data_dir)["looked"] == 1
    assert inspect(receiver.data_dir, "--host", "other", status=1)["looked"] == 2
    again = inspect(receiver.data_dir, "--all", status=1)
    assert (again["looked"], again["withdrawn"], len(again["findings"])) == (7, 0, 4)


def see_what_is_told_of_it(receiver: Receiver) -> None:
    """By the fleet monitor, and on the pages."""
    symptoms = receiver.request("GET", "/v1/symptoms", headers=AUTH).json["symptoms"]
    told = {(item["host_id"], item["symptom"]): item for item in symptoms}
    assert "do not open" in told["other", "bad-archives"]["evidence"]
    assert "junk (not a zstd frame)" in told["other", "bad-archives"]["evidence"]
    ours = told["h", "bad-archives"]
    assert "2, the last one found" in ours["evidence"] and "dmesg" in ours["remedy"]
    # Its host is not to blame for what rotted here.
    assert "do not open" not in ours["evidence"] and "on the host" not in ours["remedy"]
    assert "lies (episode_type is" in told["other", "mislabelled"]["evidence"]
    environment = clean_environment(data_dir=receiver.data_dir, syslog_address="", disk_reserve_bytes=0)
    checked = subprocess.run(
        [BIN / "cis490-receiver", "health-check"], env=environment, capture_output=True, text=True
    )
    assert "bad-archives" in checked.stdout and checked.returncode == 1

    def page(path: str) -> str:
        answer = receiver.request("GET", path, headers=AUTH | {"Accept": "text/html"})
        assert answer.status == 200
        return html.unescape(answer.body.decode())

    assert "bad archives" in page("/")
    assert '<a href="/data/other/junk">junk</a>: not a zstd frame' in page("/hosts/other")
    assert "Withdrawn by inspection" in page("/data/other/junk")
    assert "Mislabelled: episode_type is" in page("/data/other/lies")
    assert "withdrawn=only" in page("/data") and "withdrawn=only" in page("/data?host=h")
    assert "withdrawn=only" not in page("/data?episode_type=infected")
    assert receiver.request("GET", "/data?host=h", headers=AUTH).json["withdrawn"] == 2


def test_what_a_person_brought_back_stays_until_other_bytes_come(receiver: Receiver) -> None:
    receiver.put("h", "e", NO_ARCHIVE, **stamped(0))
    inspect(receiver.data_dir, status=1)
    command(receiver.data_dir, "withdraw", "--undo", "h/e")
    assert receiver.request("GET", "/v1/symptoms", headers=AUTH).json["symptoms"]
    again = inspect(receiver.data_dir, "--host", "h")
    assert (again["spared"], again["findings"]) == (1, []) and listed(receiver) == {"e"}
    assert not receiver.request("GET", "/v1/symptoms", headers=AUTH).json["symptoms"]
    # The name is given to other bytes, of which nobody said anything.
    (receiver.data_dir / "episodes" / "h" / "e.tar.zst").unlink()
    command(receiver.data_dir, "reindex")
    assert receiver.put("h", "e", Archive(b"nor is this")).status == 201
    assert inspect(receiver.data_dir, status=1)["withdrawn"] == 1 and listed(receiver) == set()


def test_a_bound_and_a_disk_say_nothing_of_the_episode(receiver: Receiver) -> None:
    receiver.put("h", "huge", Archive(pack({"meta.json": b"{}", "zeros": bytes(3_000_000)})))
    receiver.put("h", "gone", make_episode(1))
    receiver.put("h", "unreadable", make_episode(2))
    empty_frame = bytes.fromhex("502a4d1800000000")
    receiver.put("h", "many", Archive(empty_frame * 250_001 + make_episode(3).data))
    window = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=30)
    ).compressobj()
    receiver.put("h", "wide", Archive(window.compress(b"x") + window.flush()))
    (receiver.data_dir / "episodes" / "h" / "gone.tar.zst").unlink()
    middle = receiver.data_dir / "episodes" / "h" / "unreadable.tar.zst"
    whole = middle.read_bytes()
    middle.unlink()
    middle.mkdir()
    told = inspect(receiver.data_dir, status=1, max_decompressed_bytes=1_000_000)
    assert kinds(told) == {
        "huge": "unfinished",
        "many": "unfinished",
        "wide": "unfinished",
        "gone": "missing",
        "unreadable": "unreadable",
    }
    assert not (receiver.data_dir / "withdrawn.jsonl").exists()
    # What the disk did not give is looked at again.
    assert kinds(inspect(receiver.data_dir, status=1)) == {"unreadable": "unreadable"}
    middle.rmdir()
    middle.write_bytes(whole)
    told = inspect(receiver.data_dir, status=1)
    assert (told["looked"], kinds(told)) == (1, {"unreadable": "mislabelled"})
    assert inspect(receiver.data_dir)["looked"] == 0


def test_of_two_at_once_one_does_nothing(receiver: Receiver) -> None:
    receiver.put("h", "e", NO_ARCHIVE)
    with open(receiver.data_dir / "inspection.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert inspect(receiver.data_dir) == {"busy": True}
        assert listed(receiver) == {"e"}
    assert inspect(receiver.data_dir, status=1)["withdrawn"] == 1
    page = receiver.request("GET", "/data", headers=AUTH | {"Accept": "text/html"}).body.decode()
    assert "Every episode is withdrawn." in page and "has been stored yet" not in page


def test_one_that_is_killed_passes_nothing_over_and_leaves_no_lock(receiver: Receiver) -> None:
    for number in range(3):
        receiver.put("h", f"e{number}", Archive(b"no archive" * (number + 1)))
    words = [str(BIN / "cis490-receiver"), "inspect", "--json"]
    slow = clean_environment(data_dir=receiver.data_dir, inspect_bytes_per_second=1)
    for end in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(words, env=slow, stdout=subprocess.PIPE) as process:
            deadline = time.monotonic() + 20
            while not any("episodes" in str(path) for path in open_files(process.pid)):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(end)
            told = process.communicate(timeout=20)[0]
    assert json.loads(told)["complete"] is False
    assert inspect(receiver.data_dir, status=1)["withdrawn"] == 3


def test_it_waits_with_what_it_found_until_no_reindex_is_at_it(receiver: Receiver) -> None:
    """What a reindex keeps is before the mark, what it rebuilds behind: so nobody may advance that meanwhile."""
    receiver.put("h", "e", NO_ARCHIVE)
    with open(receiver.data_dir / "reindex.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        words = [str(BIN / "cis490-receiver"), "inspect", "--quiet"]
        run = subprocess.Popen(
            words, env=clean_environment(data_dir=receiver.data_dir), stdout=subprocess.DEVNULL
        )
        while not locks_waited_for(run.pid):
            assert run.poll() is None
        assert not (receiver.data_dir / "inspection.json").exists()
    assert run.wait(timeout=30) == 1 and listed(receiver) == set()


class Fleet:
    """What is kept in a folder, without a receiver's processes, and a clock that goes."""

    def __init__(self, folder: Path) -> None:
        self.backends: Backends = open_backends(Settings(data_dir=folder, disk_reserve_bytes=0))
        self.opened: list[str] = []

    def store(self, name: str, archive: Archive) -> Episode:
        """An episode as an upload leaves it."""
        upload = Upload(EpisodeKey("h", name), archive.sha256, Stamps())
        with self.backends.store.receive(upload.key, upload.stamps) as incoming:
            incoming.lend()[: len(archive.data)] = archive.data
            incoming.commit(len(archive.data))
            incoming.sync()
            assert incoming.publish()
            episode = Episode.from_upload(upload, size_bytes=len(archive.data), received_at_ns=time.time_ns())
            self.backends.index.append(episode)
            incoming.settle()
        return episode

    def inspection(self) -> tuple[Inspection, Ledger]:
        """A run, of which `opened` tells what it looked at."""
        kept = self.backends
        real = kept.store.open
        self.opened = []

        def open_one(key: EpisodeKey) -> Any:
            self.opened.append(key.episode_id)
            return real(key)

        store = mock.Mock(wraps=kept.store)
        store.open = open_one
        ledger = Ledger(kept.inspections, kept.index, kept.withdrawals, SystemClock(), forget_ns=10**15)
        # A monotonic clock by which each episode takes longer than a step.
        seconds = iter(range(0, 10**9, 100))
        inspection = Inspection(
            store,
            kept.index,
            throttle=Throttle(None),
            max_decompressed_bytes=1 << 30,
            monotonic=lambda: float(next(seconds)),
        )
        return inspection, ledger

    def inspect(self) -> Report:
        inspection, ledger = self.inspection()
        return inspection.go_on(ledger)

    def withdrawn(self) -> list[str]:
        return sorted(item.episode_id for item in self.backends.withdrawals.items())

    def reindex(self) -> None:
        Reindexer(self.backends.index.renewal(SystemClock()), self.backends.store).run()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "data")
    yield made
    made.backends.index.close()


GOOD = make_episode(0, meta={"host_id": "h"})


def test_a_step_that_fails_is_taken_again_and_counts_once(fleet: Fleet) -> None:
    """Each write, in turn, is the last one of its process."""
    for number in range(3):
        fleet.store(f"e{number}", NO_ARCHIVE)
    for what in ("withdrawals.append", "inspections.write"):
        part, _, step = what.partition(".")
        real = getattr(fleet.backends, part)
        for before in range(3):
            broken = mock.Mock(wraps=real)
            calls = iter(range(10))

            def failing(
                *given: Any, real: Any = real, step: str = step, calls: Any = calls, n: int = before
            ) -> None:
                if next(calls) >= n:
                    raise StorageFailed
                getattr(real, step)(*given)

            setattr(broken, step, failing)
            fleet.backends = replace(fleet.backends, **{part: broken})
            with contextlib.suppress(StorageFailed):
                fleet.inspect()
            fleet.backends = replace(fleet.backends, **{part: real})
    fleet.inspect()
    assert fleet.withdrawn() == ["e0", "e1", "e2"]
    [trouble] = fleet.backends.inspections.read().troubles
    assert (trouble.host_id, trouble.kind, trouble.count) == ("h", "unopenable", 3)
    assert [example.episode_id for example in trouble.examples] == ["e2", "e1", "e0"]


def test_a_journal_made_anew_is_read_on_from_where_it_was(fleet: Fleet) -> None:
    kept = [fleet.store(f"e{number:02}", GOOD) for number in range(40)]
    assert fleet.inspect().looked == 40
    # Lines in the middle and the last ones go, lost lines come back behind, and new ones come.
    for gone in ("e05", "e06", "e39"):
        fleet.backends.store.quarantine(EpisodeKey("h", gone), lambda held: True)
    journal = fleet.backends.place.name + "/index.jsonl"
    lines = Path(journal).read_bytes().splitlines(keepends=True)
    Path(journal).write_bytes(b"".join(line for line in lines if b'"e20"' not in line))
    fleet.reindex()
    fleet.store("new", NO_ARCHIVE)
    fleet.inspect()
    assert fleet.opened == ["e20", "new"] and fleet.withdrawn() == ["new"]
    fleet.reindex()
    assert fleet.inspect().looked == 0 and len(kept) == 40


def test_another_index_is_read_from_its_start(fleet: Fleet) -> None:
    for number in range(5):
        fleet.store(f"e{number}", GOOD if number else NO_ARCHIVE)
    fleet.inspect()
    Path(fleet.backends.place.name, "index.jsonl").unlink()
    fleet.reindex()
    fleet.inspect()
    assert sorted(fleet.opened) == [f"e{number}" for number in range(5)]
    troubles = {trouble.kind: trouble.count for trouble in fleet.backends.inspections.read().troubles}
    # What a line says that was rebuilt is taken from meta.json.
    assert troubles == {"unopenable": 1}


def test_a_line_that_a_crash_took_away_does_not_hide_the_one_in_its_place(fleet: Fleet) -> None:
    fleet.store("e0", GOOD)
    fleet.store("e1", GOOD)
    fleet.inspect()
    # It was never synced, so nobody was promised anything; what follows is as long.
    journal = Path(fleet.backends.place.name, "index.jsonl")
    first = journal.read_bytes().splitlines(keepends=True)[0]
    os.truncate(journal, len(first))
    fleet.store("e2", GOOD)
    fleet.inspect()
    assert fleet.opened == ["e2"]


def test_a_reindex_beside_it_hides_nothing(fleet: Fleet) -> None:
    """It swaps the journal between two of the inspection's steps; lines that it rebuilt stand before later ones."""
    for number in range(6):
        fleet.store(f"e{number}", GOOD)
    journal = Path(fleet.backends.place.name, "index.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:1] + lines[2:]))
    inspection, ledger = fleet.inspection()
    real, swapped = ledger.settle, []

    def settle(*given: Any) -> Any:
        settled = real(*given)
        if len(fleet.opened) == 3 and not swapped:
            swapped.append(True)
            fleet.reindex()
            fleet.store("last", NO_ARCHIVE)
        return settled

    with mock.patch.object(ledger, "settle", settle):
        inspection.go_on(ledger)
    assert set(fleet.opened) == {f"e{number}" for number in range(6)} | {"last"}
    assert fleet.withdrawn() == ["last"]


def test_what_was_found_of_a_line_that_is_not_there_any_more_counts_for_nothing(fleet: Fleet) -> None:
    fleet.store("e", NO_ARCHIVE)
    inspection, ledger = fleet.inspection()
    real = ledger.settle

    def settle(*given: Any) -> Any:
        # Between the look and the step the episode is put aside and shipped again.
        if not fleet.backends.index.count(Filters(since=time.time_ns())):
            fleet.backends.store.quarantine(EpisodeKey("h", "e"), lambda held: True)
            fleet.reindex()
            fleet.store("e", GOOD)
        return real(*given)

    with mock.patch.object(ledger, "settle", settle):
        inspection.look_at("h", ledger)
    assert fleet.withdrawn() == [] and inspection.report.findings == []


def test_a_disk_that_gives_nothing_stops_it_before_anything_is_passed_over(fleet: Fleet) -> None:
    for number in range(MAX_AGAIN + 3):
        fleet.store(f"e{number:03}", NO_ARCHIVE)

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    inspection, ledger = fleet.inspection()
    broken = OpenEpisode(Broken(), len(NO_ARCHIVE.data), 0)
    with mock.patch.object(inspection._store, "open", lambda key: broken):
        report = inspection.go_on(ledger)
    assert report.problem and not report.complete
    assert report.counts == {"unreadable": MAX_AGAIN} and "Input/output error" in report.findings[0].detail
    assert fleet.withdrawn() == []
    assert fleet.inspect().complete
    assert len(fleet.withdrawn()) == MAX_AGAIN + 3


def test_one_that_a_person_withdrew_keeps_the_reason(fleet: Fleet) -> None:
    fleet.store("e", NO_ARCHIVE)
    mine = Withdrawal("2026-01-01T00:00:00Z", 1, "h", "e", True, "mine", "me")
    fleet.backends.withdrawals.append([mine])
    fleet.inspect()
    assert list(fleet.backends.withdrawals.items()) == [mine]


def test_what_is_known_stays_small_and_reads_back(fleet: Fleet) -> None:
    found = [(EpisodeKey(f"h{n % 2500}", f"e{n}"), "unopenable", "x" * 5000) for n in range(5000)]
    known = Inspected().with_troubles(found, now_ns=7, forget_ns=1)
    assert (known.troubles[0].host_id, known.troubles[0].count) == ("h2499", 2)
    assert known.with_troubles(found[-1:], now_ns=9, forget_ns=1).troubles[0].count == 1
    fleet.backends.inspections.write(known)
    assert fleet.backends.inspections.read() == known
    assert len(known.troubles) <= 2000 and len(json.dumps(known.as_dict())) < 4 << 20
    (Path(fleet.backends.place.name) / "inspection.json").write_text('{"mark": 7}')
    assert fleet.backends.inspections.read() == Inspected()

"""kill -9, restart, stop: what was acknowledged is there, what was not is gone or complete."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import signal
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import zstandard

from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import traces
from tests.support.archives import Archive, make_episode
from tests.support.receiver import Receiver, put_headers


def assert_agreement(receiver: Receiver, acknowledged: dict[tuple[str, str], Archive]) -> None:
    """Index and disk say the same, and hold everything that was acknowledged."""
    stored = receiver.stored()
    lines = receiver.index()
    indexed = {(line["host_id"], f"{line['episode_id']}.tar.zst"): line["sha256"] for line in lines}
    assert len(indexed) == len(lines), "an episode has two lines"
    assert indexed.keys() == stored.keys()
    for (host, episode), archive in acknowledged.items():
        assert stored[host, f"{episode}.tar.zst"] == archive.data
        assert indexed[host, f"{episode}.tar.zst"] == archive.sha256
    assert receiver.incoming() == []


@pytest.mark.slow
def test_five_kills_under_load_lose_nothing_acknowledged(start_receiver: Any) -> None:
    receiver: Receiver = start_receiver()
    acknowledged: dict[tuple[str, str], Archive] = {}
    for round_ in range(5):
        before = len(acknowledged)
        killed = threading.Event()

        def ship(writer: int, round_: int = round_, killed: threading.Event = killed) -> None:
            number = 0
            while not killed.is_set():
                number += 1
                # Some writers race for names, one ships what takes longer.
                name = f"r{round_}-{writer // 2}-{number}"
                episode = make_episode(hash(name) % 10**9, size=400_000 if writer == 0 else 3000)
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if receiver.put(f"host{writer % 3 // 2}", name, episode).status in (200, 201):
                        acknowledged[f"host{writer % 3 // 2}", name] = episode

        with ThreadPoolExecutor(6) as pool:
            running = [pool.submit(ship, writer) for writer in range(6)]
            deadline = time.monotonic() + 20
            while len(acknowledged) < before + 40 and time.monotonic() < deadline:
                time.sleep(0.005)
            receiver.kill()
            killed.set()
            for one in running:
                one.result()
        receiver.start()
        assert len(acknowledged) >= before + 40
        assert_agreement(receiver, acknowledged)


def test_a_killed_worker_is_tidied_up_after_by_the_next_one(receiver: Receiver) -> None:
    with contextlib.closing(receiver.raw()) as connection:
        head = "PUT /v1/episodes/h/e.tar.zst HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        headers = "".join(f"{k}: {v}\r\n" for k, v in put_headers(make_episode(1)).items())
        connection.sendall(f"{head}{headers}\r\n".encode() + b"x" * 500)
        _wait(lambda: len(receiver.incoming()) == 1)
        for pid in receiver.worker_pids():
            os.kill(pid, signal.SIGKILL)
        _wait(lambda: receiver.incoming() == [])
    assert receiver.put("h", "e", make_episode(1)).status == 201


def test_recovery_leaves_live_uploads_alone(receiver: Receiver) -> None:
    """A worker that starts beside others must not take their uploads for dead ones."""
    episode = make_episode(2, size=100_000)
    with contextlib.closing(receiver.raw()) as connection:
        head = (
            f"PUT /v1/episodes/h/live.tar.zst HTTP/1.1\r\nHost: x\r\nContent-Length: {len(episode.data)}\r\n"
        )
        headers = "".join(f"{k}: {v}\r\n" for k, v in put_headers(episode).items())
        connection.sendall(f"{head}{headers}\r\n".encode() + episode.data[:50_000])
        _wait(lambda: len(receiver.incoming()) == 1)
        busy = _holder(receiver, receiver.incoming()[0])
        workers = receiver.worker_pids()
        [other] = [pid for pid in workers if pid != busy]
        os.kill(other, signal.SIGKILL)
        _wait(lambda: len(set(receiver.worker_pids()) - set(workers)) == 1)
        _wait(lambda: receiver.log_text().count("Booting worker") == 3)
        assert receiver.request("GET", "/v1/ready").status == 200
        connection.sendall(episode.data[50_000:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def _leave_published(receiver: Receiver, trace: str, name: str, data: bytes) -> None:
    """What a crash between publishing and indexing leaves: two links, no lock, no line."""
    folder = receiver.data_dir
    (folder / "incoming" / trace).write_bytes(data)
    os.link(folder / "incoming" / trace, folder / "episodes" / "h" / f"{name}.tar.zst")


def test_a_published_episode_without_a_line_is_completed_at_start(receiver: Receiver) -> None:
    episode = make_episode(3, meta={"episode_type": "control", "code_commit": "d" * 40})
    assert receiver.put("h", "whole", episode).status == 201
    receiver.kill()
    folder = receiver.data_dir
    stamps = Stamps(2, "e" * 40, "infected", None)
    _leave_published(receiver, traces.new_name(EpisodeKey("h", "lost"), stamps), "lost", episode.data)
    (folder / "incoming" / "h~torn~4567").write_bytes(episode.data[:100])
    with (folder / "index.jsonl").open("ab") as journal:
        journal.write(b'{"host_id":"h","episode_id":"torn",')
    receiver.start()
    assert_agreement(receiver, {("h", "whole"): episode, ("h", "lost"): episode})
    line = receiver.index()[1]
    assert (line["episode_id"], line["episode_type"], line["code_commit"]) == ("lost", "infected", "e" * 40)
    assert line["benign_profile"] is None


def test_a_start_is_ready_before_an_archive_is_looked_into(receiver: Receiver) -> None:
    """The trace of an older version does not tell what the headers said, and its archive is a hostile one."""
    episode, hostile = make_episode(3, meta={"episode_type": "infected"}), Archive(_endless_headers())
    assert receiver.put("h", "whole", episode).status == 201
    receiver.kill()
    _leave_published(receiver, f"h~bad~{'0' * 32}", "bad", hostile.data)
    _leave_published(receiver, f"h~old~{'0' * 32}", "old", episode.data)
    before = len(receiver.log_text())
    receiver.start()
    assert receiver.put("h", "other", make_episode(4)).status == 201
    _wait(lambda: receiver.incoming() == [])
    assert_agreement(receiver, {("h", "whole"): episode, ("h", "old"): episode, ("h", "bad"): hostile})
    lines = {line["episode_id"]: line for line in receiver.index()}
    assert lines["old"]["episode_type"] == "infected" and lines["bad"]["episode_type"] is None
    log = receiver.log_text()[before:]
    assert 0 < log.index("Listening at") < log.index("recovered host=h")
    assert log.index("Listening at") < log.index("meta-unreadable host=h id=bad")


def _endless_headers() -> bytes:
    """Four million headers that describe nothing."""
    compressor = zstandard.ZstdCompressor().compressobj()
    block = tarfile.TarInfo("x")
    block.type = tarfile.XHDTYPE
    pieces = [compressor.compress(block.tobuf(tarfile.USTAR_FORMAT) * 4000) for _ in range(1000)]
    return b"".join(pieces) + compressor.flush()


def test_a_retry_completes_what_its_first_attempt_published(receiver: Receiver) -> None:
    episode = make_episode(4, meta={"episode_type": "infected"})
    folder = receiver.data_dir
    (folder / "episodes" / "h").mkdir()
    (folder / "incoming" / "h~e~0123").write_bytes(episode.data)
    os.link(folder / "incoming" / "h~e~0123", folder / "episodes" / "h" / "e.tar.zst")
    assert receiver.put("h", "e", make_episode(5)).status == 409
    answer = receiver.put("h", "e", episode, X_Episode_Type="infected")
    assert (answer.status, answer.json["status"]) == (200, "already-present")
    assert_agreement(receiver, {("h", "e"): episode})
    assert receiver.index()[0]["episode_type"] == "infected"


def test_a_finder_waits_for_the_writer_of_the_same_name(receiver: Receiver) -> None:
    episode = make_episode(6)
    path = receiver.data_dir / "episodes" / "h" / "e.tar.zst"
    path.parent.mkdir()
    path.write_bytes(episode.data)
    with path.open("rb") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        answer = pool.submit(receiver.put, "h", "e", episode)
        assert receiver.request("GET", "/v1/health").status == 200
        assert not answer.done() and receiver.index() == []
        fcntl.flock(held, fcntl.LOCK_UN)
        assert answer.result().status == 200
    assert_agreement(receiver, {("h", "e"): episode})


def test_writers_notice_that_the_journal_was_swapped(receiver: Receiver) -> None:
    for number in range(4):
        assert receiver.put("h", f"before{number}", make_episode(number)).status == 201
    journal = receiver.data_dir / "index.jsonl"
    copy = receiver.data_dir / "copy"
    copy.write_bytes(journal.read_bytes())
    journal.rename(receiver.data_dir / "index.jsonl.1")
    copy.rename(journal)
    for number in range(4):
        assert receiver.put("h", f"after{number}", make_episode(number)).status == 201
    journal.rename(receiver.data_dir / "index.jsonl.2")
    assert receiver.put("h", "alone", make_episode(9)).status == 201
    assert [line["episode_id"] for line in receiver.index()] == ["alone"]
    moved = (receiver.data_dir / "index.jsonl.2").read_bytes()
    assert moved.count(b"\n") == 8


@pytest.mark.slow
def test_a_stop_lets_uploads_under_way_finish(receiver: Receiver) -> None:
    episode = make_episode(7, size=100_000)
    with contextlib.closing(receiver.raw()) as connection:
        head = (
            f"PUT /v1/episodes/h/late.tar.zst HTTP/1.1\r\nHost: x\r\nContent-Length: {len(episode.data)}\r\n"
        )
        headers = "".join(f"{k}: {v}\r\n" for k, v in put_headers(episode).items())
        connection.sendall(f"{head}{headers}\r\n".encode() + episode.data[:50_000])
        _wait(lambda: len(receiver.incoming()) == 1)
        assert receiver.process is not None
        receiver.process.send_signal(signal.SIGTERM)
        _wait(lambda: "Handling signal: term" in receiver.log_text())
        connection.sendall(episode.data[50_000:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert receiver.process.wait(timeout=20) == 0


def _wait(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


def _holder(receiver: Receiver, name: str) -> int:
    """The worker that has the incoming file open."""
    for pid in receiver.worker_pids():
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}").endswith(name):
                    return pid
    raise AssertionError(f"nobody has {name} open")

"""Uploads in pieces on the real server: kills under load, lost answers, names taken meanwhile, hostile requests."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.test_hostile_pieces import raw_patch
from tests.gate import snapshots
from tests.integration.test_uploads import TUS, create, creation, head, send
from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, Receiver

WRITERS = 4
MIB = 1 << 20


class Load:
    """Clients that ship one episode after the other in pieces, and write down everything that is acknowledged."""

    def __init__(self, receiver: Receiver, seed: int) -> None:
        self._receiver = receiver
        self._seed = seed
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self.acknowledged = 0
        self.stored: dict[tuple[str, str], str] = {}
        self.broken: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(WRITERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int) -> None:
        with self._changed:
            wanted = self.acknowledged + count
            assert self._changed.wait_for(lambda: self.acknowledged >= wanted or self.broken, timeout=60)

    def _run(self, writer: int) -> None:
        try:
            for number in range(1_000_000):
                if self._stopping.is_set():
                    return
                self._ship(writer, number)
        except Exception as exc:
            self.broken.append(f"{writer}: {exc!r}")
            raise

    def _ship(self, writer: int, number: int) -> None:
        dice = random.Random(f"{self._seed}-{writer}-{number}")
        episode = Archive(dice.randbytes(dice.choice((3000, 300_000, 2_000_000))))
        name = f"e{writer}-{number}"
        path, sure = "", 0
        while not self._stopping.is_set():
            try:
                if not path:
                    path = create(self._receiver, episode, f"host-{writer}", name)
                state = head(self._receiver, path)
                assert state.status in (200, 423), f"{name}: HEAD {state.status}"
                if state.status == 423:
                    continue
                offset = int(state.headers["Upload-Offset"])
                assert offset >= sure, f"{name}: {sure} were acknowledged, {offset} are there"
                size = dice.choice((1000, 100_000, len(episode.data)))
                answer = send(self._receiver, path, offset, episode.data[offset : offset + size])
                assert answer.status in (204, 409, 423), f"{name}: {answer.status} {answer.body!r}"
                if answer.status != 204:
                    continue
                sure = int(answer.headers["Upload-Offset"])
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            with self._changed:
                self.acknowledged += 1
                self._changed.notify_all()
                if sure == len(episode.data):
                    assert answer.headers["X-Episode-Status"] in ("stored", "already-present")
                    self.stored[f"host-{writer}", f"{name}.tar.zst"] = episode.sha256
                    return


def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    kills = int(os.environ.get("FAULTS_KILLS", "4"))
    receiver = Receiver(tmp_path / "data", tmp_path / "receiver.log")
    receiver.start()
    load, dice = Load(receiver, 1), random.Random(1)
    load.start()
    try:
        for _ in range(kills):
            load.wait_for_more(dice.randint(5, 40))
            receiver.kill()
            receiver.start()
        load.wait_for_more(20)
        load.stop()
        assert not load.broken
        lines = {
            (line["host_id"], f"{line['episode_id']}.tar.zst"): line["sha256"] for line in receiver.index()
        }
        assert load.stored.items() <= lines.items()
        assert lines == {key: hashlib.sha256(data).hexdigest() for key, data in receiver.stored().items()}
        assert len(lines) == len(receiver.index())
        # At most one upload a client waits, and one that died between making it and telling of it with each kill.
        listed = receiver.request("GET", "/v1/uploads", None, AUTH).json["uploads"]
        assert len(receiver.incoming()) == 2 * len(listed)
        for one in listed:
            assert (
                receiver.request("DELETE", f"/v1/uploads/{one['upload_id']}", None, AUTH | TUS).status == 204
            )
        assert receiver.incoming() == []
    finally:
        load.stop()
        receiver.end()


def test_an_answer_that_was_lost_is_given_again(receiver: Receiver) -> None:
    episode = make_episode(1, size=500_000)
    path = create(receiver, episode)
    assert send(receiver, path, 0, episode.data[:1000]).status == 204
    with contextlib.closing(receiver.raw()) as gone:
        gone.sendall(raw_patch(path, 1000, len(episode.data) - 1000) + episode.data[1000:])
    deadline = time.monotonic() + 10
    while "X-Episode-Status" not in (asked := head(receiver, path)).headers and time.monotonic() < deadline:
        assert asked.status in (200, 423)
    again = send(receiver, path, 1000, episode.data[1000:])
    for answer in (head(receiver, path), again):
        assert answer.headers["X-Episode-Status"] == "stored"
        assert answer.headers["Upload-Offset"] == str(len(episode.data))
    assert again.headers["Repr-Digest"] == head(receiver, path).headers["Repr-Digest"]
    assert len(receiver.index()) == 1


def test_a_name_that_a_put_took_meanwhile(receiver: Receiver) -> None:
    for same in (True, False):
        mine = make_episode(2 + same, size=200_000)
        theirs = mine if same else make_episode(9, size=3000)
        name = f"run-{same}"
        path = create(receiver, mine, name=name)
        asked_last = create(receiver, mine, name=name)
        for one in (path, asked_last):
            assert send(receiver, one, 0, mine.data[:100_000]).status == 204
        assert receiver.put("lab-1", name, theirs).status == 201
        answers = [
            send(receiver, path, 100_000, mine.data[100_000:]),
            send(receiver, asked_last, 100_000, b"x"),
        ]
        for one, answer in zip((path, asked_last), answers, strict=True):
            if same:
                told = (answer.status, answer.headers["X-Episode-Status"])
                assert told == (204, "already-present")
                assert head(receiver, one).headers["X-Episode-Status"] == "already-present"
            else:
                assert (answer.status, answer.json["existing_sha256"]) == (409, theirs.sha256)
                assert head(receiver, one).status == 409
        assert receiver.stored()["lab-1", f"{name}.tar.zst"] == theirs.data
    assert receiver.incoming() == []
    assert len(receiver.index()) == 2


def test_two_clients_of_one_upload_spoil_nothing(receiver: Receiver) -> None:
    episode = Archive(random.Random(3).randbytes(3 * MIB))
    path = create(receiver, episode)
    ends: list[str] = []

    def client(seed: int) -> None:
        dice = random.Random(seed)
        while True:
            state = head(receiver, path)
            if "X-Episode-Status" in state.headers:
                ends.append(state.headers["X-Episode-Status"])
                return
            if state.status == 423:
                continue
            offset = int(state.headers["Upload-Offset"])
            piece = episode.data[offset : offset + dice.randint(1, 300_000)]
            assert send(receiver, path, offset, piece).status in (204, 409, 423)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(client, seed) for seed in range(3)]:
            done.result()
    assert ends == ["stored"] * 3
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): episode.data}
    assert len(receiver.index()) == 1


def test_the_verdict_of_the_creation_holds(start_receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    """Of a commit that leaves the gate's window."""
    (tmp_path / "data").mkdir()
    snapshots.write(tmp_path / "data", snapshots.make_snapshot(1, 2))
    receiver = start_receiver(gate_enabled="true")
    episode = make_episode(6, size=100_000)
    path = create(receiver, episode, code_commit=snapshots.commit_id(2))
    assert send(receiver, path, 0, episode.data[:50_000]).status == 204
    snapshots.write(tmp_path / "data", snapshots.make_snapshot(3, 1))
    refused = creation(episode, name="late", code_commit=snapshots.commit_id(2))
    deadline = time.monotonic() + 10
    while receiver.request("POST", "/v1/uploads", None, refused).status != 412:
        assert time.monotonic() < deadline
    last = send(receiver, path, 50_000, episode.data[50_000:])
    assert (last.status, last.headers["X-Episode-Status"]) == (204, "stored")
    assert receiver.index()[0]["code_commit"] == snapshots.commit_id(2)

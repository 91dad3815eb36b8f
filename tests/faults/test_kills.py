"""kill -9 of the whole process group under load, again and again.

FAULTS_KILLS=200 in the environment makes it long: that many kills.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import Receiver

WRITERS = 6
#: Acknowledgements to wait for between two kills.
BETWEEN = 50


class Load:
    """Hosts that ship one episode after the other and do not give up on any."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._acknowledged: dict[tuple[str, str], str] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self.broken: list[str] = []
        self._threads = [threading.Thread(target=self._ship, args=(number,)) for number in range(WRITERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._acknowledged) >= count or self.broken, timeout=60)

    def stop(self) -> dict[tuple[str, str], str]:
        self._stopping = True
        for thread in self._threads:
            thread.join()
        return self._acknowledged

    def count(self) -> int:
        with self._changed:
            return len(self._acknowledged)

    def _ship(self, writer: int) -> None:
        number = 0
        while not self._stopping:
            # Two writers a host, and every third episode is a large one.
            host, episode = f"host-{writer // 2}", f"ep-{writer}-{number}"
            archive = make_episode(writer * 100_000 + number, size=600_000 if number % 3 == 0 else 3000)
            try:
                status = self._receiver.put(host, episode, archive, timeout=10).status
            except (OSError, http.client.HTTPException):
                # Killed: the client tries again until it is told.
                time.sleep(0.01)
                continue
            with self._changed:
                if status in (200, 201):
                    self._acknowledged[host, f"{episode}.tar.zst"] = archive.sha256
                elif status != 503:
                    self.broken.append(f"{host}/{episode}: {status}")
                self._changed.notify_all()
            number += status in (200, 201)


@pytest.mark.slow
def test_kills_under_load_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    kills = int(os.environ.get("FAULTS_KILLS", "6"))
    receiver = Receiver(tmp_path / "data", tmp_path / "receiver.log")
    receiver.start()
    load = Load(receiver)
    load.start()
    try:
        for _ in range(kills):
            load.wait_for(load.count() + BETWEEN)
            receiver.kill()
            receiver.start()
        acknowledged = load.stop()
        assert not load.broken
        assert len(acknowledged) >= kills * BETWEEN
        # What was in flight at the last kill is tidied up by the start; nothing else is there.
        lines = [
            (line["host_id"], f"{line['episode_id']}.tar.zst", line["sha256"]) for line in receiver.index()
        ]
        stored = [(*key, hashlib.sha256(data).hexdigest()) for key, data in receiver.stored().items()]
        assert sorted(lines) == sorted(stored)
        assert {(*key, sha256) for key, sha256 in acknowledged.items()} <= set(lines)
        assert receiver.incoming() == []
        print(f"{kills} kills, {len(acknowledged)} acknowledgements")
    finally:
        load.stop()
        receiver.end()

"""Runs the write path without HTTP, for strace to look at: `driver.py DATA_DIR STEPS` where STEPS is JSON.

Each step's outcome goes to standard output as one JSON line, written by one write(2): the moment at which
the receiver would answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cis490_receiver.backends import open_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.ingest import receive_episode, recover
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.policy.inspection import TakeAll
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.upkeep.rebuild import rebuild_from_trace
from tests.faults.support import beside, inspections, releasing, withdrawing
from tests.support.archives import Archive, make_episode

PIECE = 4096
#: What writes beside the intake.
_BESIDE = (beside.STEPS, withdrawing.STEPS, releasing.STEPS, inspections.STEPS)
STEPS = {name: step for steps in _BESIDE for name, step in steps.items()}
assert len(STEPS) == sum(map(len, _BESIDE)), "two steps have one name"


class BytesBody:
    """A body that is at hand; `at_end` is called when all of it was read."""

    def __init__(self, data: bytes, at_end: Callable[[], object] = lambda: None) -> None:
        self._rest = data
        self._at_end = at_end

    def readinto(self, buffer: memoryview) -> int:
        piece = self._rest[: min(len(buffer), PIECE)]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        if not piece:
            self._at_end()
        return len(piece)

    def peek_small(self) -> bytes | None:
        return self._rest


def upload_of(host: str, episode: str, archive: Archive) -> Upload:
    """What a PUT's head says: other stamps than meta.json has, so that it shows where a line's came from."""
    stamps = stamps_of(archive.sha256)
    return Upload(EpisodeKey(host, episode), archive.sha256, stamps, size_bytes=len(archive.data))


def stamps_of(sha256: str) -> Stamps:
    """What the head of each upload of these bytes says."""
    return Stamps(3, sha256[:40], "infected", "db_query")


def archive_of(step: dict[str, Any]) -> Archive:
    return make_episode(step.get("seed", 0), size=step.get("size", 9000))


class Driver:
    """One process's store and index."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir)
        self.store, self.index = FilesystemStore(data_dir), LocalIndex(data_dir)

    def run(self, step: dict[str, Any]) -> None:
        from tests.faults.support import resumed

        assert STEPS.keys().isdisjoint(resumed.STEPS)
        steps = STEPS | resumed.STEPS
        if step["do"] in steps:
            steps[step["do"]](self.settings.data_dir, step)
        else:
            getattr(self, "do_" + step["do"])(step)

    def do_start(self, step: dict[str, Any]) -> None:
        """What create_app does."""
        try:
            backends = open_backends(self.settings)
        except ReceiverError as exc:
            beside.say(status=exc.code)
            return
        recover(backends.store, backends.index, rebuild_from_trace)
        backends.index.close()

    def do_recover(self, step: dict[str, Any]) -> None:
        recover(self.store, self.index, rebuild_from_trace)

    def do_put(self, step: dict[str, Any], at_end: Callable[[], object] = lambda: None) -> None:
        archive = archive_of(step)
        answer: dict[str, Any] = {"host": step["host"], "episode": step["episode"], "sha256": archive.sha256}
        try:
            outcome = receive_episode(
                upload_of(step["host"], step["episode"], archive),
                BytesBody(archive.data, at_end),
                store=self.store,
                index=self.index,
                clock=SystemClock(),
                inspector=TakeAll(),
            )
            answer["status"] = 201 if outcome.new else 200
        except ReceiverError as exc:
            answer["status"] = exc.code
        os.write(1, json.dumps(answer).encode() + b"\n")

    def do_die_before_line(self, step: dict[str, Any]) -> None:
        """A writer that dies between publishing and indexing."""
        self.index.append = lambda episode, placed: os._exit(0)  # type: ignore[method-assign]
        self.do_put(step)

    def do_die_before_sync_of_line(self, step: dict[str, Any]) -> None:
        """A writer that dies when its line is written and not synced."""
        os.fdatasync = lambda fd: os._exit(0)
        self.do_put(step)

    def do_tear(self, step: dict[str, Any]) -> None:
        """A line that a crash tore."""
        archive = archive_of(step)
        upload = upload_of(step["host"], step["episode"], archive)
        line = Episode.from_upload(upload, size_bytes=len(archive.data), received_at_ns=1).to_line()
        with self.index.journal.path.open("ab") as journal:
            journal.write(line[: step["keep"]])

    def do_together(self, step: dict[str, Any]) -> None:
        """Writers of one name in threads, each with a store and an index as a process of its own would have
        (their locks exclude each other alike), all of them publishing when every body is there."""
        ready = threading.Barrier(len(step["puts"]))
        writers = [Driver(self.settings.data_dir) for _ in step["puts"]]
        threads = [
            threading.Thread(target=writer.do_put, args=(put, ready.wait))
            for writer, put in zip(writers, step["puts"], strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def do_grouped(self, step: dict[str, Any]) -> None:
        """Writers in threads of one process: the lines of all but the first are written at once."""
        group, waits = self.index.journal._group, threading.Semaphore(0)
        write, wait = group._write, group._changed.wait

        def note_and_wait(timeout: float | None = None) -> bool:
            waits.release()
            return wait(timeout)

        def write_when_all_wait(lines: Sequence[bytes]) -> Sequence[None]:
            group._write = write
            assert all(waits.acquire(timeout=20) for _ in step["puts"][1:])
            return write(lines)

        group._changed.wait = note_and_wait  # type: ignore[method-assign]
        group._write = write_when_all_wait
        threads = [threading.Thread(target=self.do_put, args=(put,)) for put in step["puts"]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def do_overtaken(self, step: dict[str, Any]) -> None:
        """The second writer comes when the first one's name is there and its line is not."""
        first, second = Driver(self.settings.data_dir), Driver(self.settings.data_dir)
        came = threading.Event()
        append, hold = first.index.append, second.store.hold

        def late(episode: Episode, placed: str = "") -> bool:
            thread.start()
            assert came.wait(20)
            return append(episode, placed)

        @contextlib.contextmanager
        def noticed(key: EpisodeKey, *, wait_seconds: float) -> Iterator[Any]:
            came.set()
            with hold(key, wait_seconds=wait_seconds) as held:
                yield held

        first.index.append = late  # type: ignore[method-assign]
        second.store.hold = noticed  # type: ignore[method-assign]
        thread = threading.Thread(target=second.do_put, args=(step["puts"][1],))
        first.do_put(step["puts"][0])
        thread.join()

    def do_meanwhile(self, step: dict[str, Any]) -> None:
        """When the `first` step comes to its call `at` on a file whose path ends in `of`, the `second` one begins
        in a thread, and goes on until it is done or has to wait for a lock that the first holds."""
        first, second = threading.current_thread(), threading.Event()
        flock, call = fcntl.flock, getattr(os, step["at"])

        def run_second() -> None:
            try:
                Driver(self.settings.data_dir).run(step["second"])
            finally:
                second.set()

        thread = threading.Thread(target=run_second)

        def noticed(fd: int, how: int) -> None:
            if threading.current_thread() is thread and not how & fcntl.LOCK_NB:
                try:
                    flock(fd, how | fcntl.LOCK_NB)
                except BlockingIOError:
                    second.set()
                else:
                    return
            flock(fd, how)

        def here(what: Any, *more: Any, **named: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
            if threading.current_thread() is first and thread.ident is None and path.endswith(step["of"]):
                thread.start()
                assert second.wait(20)
            return call(what, *more, **named)

        fcntl.flock = noticed
        setattr(os, step["at"], here)
        with beside.telling(beside.note_aloud):
            self.run(step["first"])
            # Else there was no such call.
            assert thread.ident is not None
            thread.join()


def main() -> None:
    driver = Driver(Path(sys.argv[1]))
    for step in json.loads(sys.argv[2]):
        driver.run(step)


if __name__ == "__main__":
    main()

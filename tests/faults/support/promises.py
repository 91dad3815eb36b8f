"""Parts of the promise that no crash is needed to break. Each function raises AssertionError."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from cis490_receiver.clock import SystemClock
from cis490_receiver.errors import BodyTruncated, ShaMismatch, StorageFailed
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.ingest import receive_episode
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.policy.inspection import TakeAll
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import Incoming
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.upkeep.reindex import Reindexer
from cis490_receiver.views.body import RequestBody
from tests.faults.support.driver import BytesBody, Driver

KEY = EpisodeKey("host-a", "ep-1")


def append(incoming: Incoming, data: bytes) -> None:
    """Commit `data` by way of a lent buffer."""
    incoming.lend()[: len(data)] = data
    incoming.commit(len(data))


def recovery_leaves_live_uploads_alone(data_dir: Path) -> None:
    Driver(data_dir).do_start({})
    store = FilesystemStore(data_dir)
    with store.receive(KEY, Stamps()) as incoming:
        append(incoming, b"one half, ")
        Driver(data_dir).do_recover({})
        append(incoming, b"the other")
        incoming.sync()
        try:
            published = incoming.publish()
        except Exception as exc:
            raise AssertionError("a live upload was taken away") from exc
        assert published
        incoming.settle()
    stored = store.open(KEY)
    assert stored is not None
    with stored:
        assert stored.stream.read() == b"one half, the other"


def a_short_body_is_an_error(data_dir: Path) -> None:
    body = RequestBody(io.BytesIO(b"abc"), 10, 100)
    buffer = memoryview(bytearray(100))
    try:
        while body.readinto(buffer):
            pass
    except BodyTruncated:
        return
    raise AssertionError("three bytes passed for ten")


def a_body_of_another_digest_is_refused(data_dir: Path) -> None:
    Driver(data_dir).do_start({})
    driver = Driver(data_dir)
    try:
        receive_episode(
            Upload(KEY, "0" * 64),
            BytesBody(b"something else"),
            store=driver.store,
            index=driver.index,
            clock=SystemClock(),
            inspector=TakeAll(),
        )
    except ShaMismatch:
        assert not driver.store.exists(KEY)
        return
    raise AssertionError("a body that does not match was stored")


def a_body_of_another_digest_is_refused_under_a_taken_name(data_dir: Path) -> None:
    Driver(data_dir).do_start({})
    driver = Driver(data_dir)
    stored = b"what is stored"

    def receive(data: bytes) -> bool:
        return receive_episode(
            Upload(KEY, hashlib.sha256(stored).hexdigest()),
            BytesBody(data),
            store=driver.store,
            index=driver.index,
            clock=SystemClock(),
            inspector=TakeAll(),
        ).new

    assert receive(stored)
    try:
        receive(b"what has rotted")
    except ShaMismatch as exc:
        assert exc.details["actual_sha256"] == hashlib.sha256(b"what has rotted").hexdigest()
    else:
        raise AssertionError("a body that does not match was acknowledged")
    assert not receive(stored)


def _line(number: int) -> Episode:
    upload = Upload(EpisodeKey("host-a", f"ep-{number}"), f"{number:064x}")
    return Episode.from_upload(upload, size_bytes=9, received_at_ns=10**18 + number)


def _journal_of(data_dir: Path, lines: int) -> LocalIndex:
    index = LocalIndex(data_dir)
    data_dir.mkdir()
    index.prepare()
    for number in range(lines):
        index.append(_line(number))
    return index


def _generation(index: LocalIndex) -> tuple[str, int]:
    journal = index.open_journal()
    journal.stream.close()
    return journal.generation, journal.end


def a_lost_line_is_forgotten(data_dir: Path) -> None:
    """An edit by hand, of the same length: neither the file, its length nor its generation tells of it."""
    index = _journal_of(data_dir, 2)
    assert index.find(_line(1).key) is not None
    with index.journal.path.open("r+b") as journal:
        journal.seek(-len(_line(1).to_line()), os.SEEK_END)
        journal.write(_line(2).to_line())
    assert index.find(_line(1).key) is None and index.find(_line(2).key) == _line(2)
    index.close()


def a_cut_changes_the_generation(data_dir: Path) -> None:
    """A line that could be seen is taken back, because its sync failed; readers look at every step of it."""
    index = _journal_of(data_dir, 1)
    seen: dict[str, int] = {}

    def look() -> None:
        generation, end = _generation(index)
        shrunk = end < seen.get(generation, 0)
        assert not shrunk, "the journal became shorter within a generation"
        seen[generation] = max(end, seen.get(generation, 0))

    fdatasync, ftruncate = os.fdatasync, os.ftruncate
    failures = [True]

    def failing_sync(fd: int) -> None:
        look()
        if os.path.samestat(os.fstat(fd), index.journal.path.stat()) and failures:
            failures.pop()
            raise OSError(errno.EIO, "injected")
        fdatasync(fd)
        look()

    def watched_cut(fd: int, length: int) -> None:
        look()
        ftruncate(fd, length)
        look()

    with mock.patch("os.fdatasync", failing_sync), mock.patch("os.ftruncate", watched_cut):
        try:
            index.append(_line(1))
        except StorageFailed:
            look()
        else:
            raise AssertionError("a line whose sync failed was acknowledged")
        index.append(_line(2))
        look()
    generations = list(seen)
    assert not any(name.startswith("unnoted") for name in (generations[0], generations[-1]))
    index.close()


def a_swap_changes_the_generation(data_dir: Path) -> None:
    """Also when the new file gets the number that the one before had, as ext4 gives it out again."""
    Driver(data_dir).do_start({})
    driver = Driver(data_dir)
    receive_episode(
        Upload(KEY, hashlib.sha256(b"stays").hexdigest()),
        BytesBody(b"stays"),
        store=driver.store,
        index=driver.index,
        clock=SystemClock(),
        inspector=TakeAll(),
    )
    generations = []
    for number in range(4):
        # Nothing is stored under this line, so every run makes the journal anew.
        driver.index.append(_line(number))
        generations.append(_generation(driver.index)[0])
        changed = Reindexer(driver.index.renewal(SystemClock()), driver.store).run()
        assert changed.set_aside == 1
        generations.append(_generation(driver.index)[0])
    assert len(set(generations)) == 5 and not any(name.startswith("unnoted") for name in generations)


def a_damaged_tail_costs_no_memory(data_dir: Path) -> None:
    """Ten gigabytes of nothing behind the last line, and in the middle of the file."""
    index = _journal_of(data_dir, 1)
    for behind in (b"", b"\n"):
        with index.journal.path.open("r+b") as journal:
            journal.truncate(10 << 30)
            journal.seek(0, os.SEEK_END)
            journal.write(behind)
        tracemalloc.start()
        try:
            if behind:
                assert index.bad_lines() == 1
            index.append(_line(1 + len(behind)))
            assert index.find(_line(1 + len(behind)).key) is not None
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()
    index.close()
    with index.journal.path.open("rb") as journal:
        assert journal.read(len(_line(0).to_line())) == _line(0).to_line()


PROMISES: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        recovery_leaves_live_uploads_alone,
        a_short_body_is_an_error,
        a_body_of_another_digest_is_refused,
        a_body_of_another_digest_is_refused_under_a_taken_name,
        a_lost_line_is_forgotten,
        a_cut_changes_the_generation,
        a_swap_changes_the_generation,
        a_damaged_tail_costs_no_memory,
    )
}

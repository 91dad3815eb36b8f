"""Parts of the promise that no crash is needed to break. Each function raises AssertionError."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from cis490_receiver.clock import SystemClock
from cis490_receiver.errors import BodyTruncated, ShaMismatch
from cis490_receiver.ingest import receive_episode
from cis490_receiver.models import EpisodeKey, Stamps, Upload
from cis490_receiver.policy.inspection import TakeAll
from cis490_receiver.storage.base import Incoming
from cis490_receiver.storage.filesystem import FilesystemStore
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
        assert stored.read() == b"one half, the other"


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


PROMISES: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        recovery_leaves_live_uploads_alone,
        a_short_body_is_an_error,
        a_body_of_another_digest_is_refused,
        a_body_of_another_digest_is_refused_under_a_taken_name,
    )
}

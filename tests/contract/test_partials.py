"""`storage.base.partials.Partials`: what was counted survives, one writer at a time, and a verdict is kept."""

from __future__ import annotations

import os

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import UploadLocked
from cis490_receiver.models import Episode, Upload
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import Incoming
from cis490_receiver.storage.base.partials import Announced, Partials, Verdict
from tests.contract.places import (
    HOUR_NS,
    NOW_NS,
    Place,
    append,
    content,
    in_a_process_that_dies,
    in_processes,
    key,
    sha256,
)

STORED = Verdict("stored", NOW_NS + HOUR_NS, sha256(content(1)))


def announced(number: int = 1) -> Announced:
    data = content(number)
    upload = Upload(key(number), sha256(data), Stamps(code_commit="ab" * 20), len(data))
    return Announced(upload, "somebody", "host_id aG9zdA==", NOW_NS)


def put_down(partials: Partials, upload_id: str, data: bytes, now_ns: int = NOW_NS + 1) -> None:
    with partials.lease(upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, data)
        partial.put_down(now_ns)


def publish(backends: Backends, incoming: Incoming, number: int = 1) -> bool:
    """Make an episode of what is synced, as `ingest.keep` does; gives whether its name was free."""
    upload = announced(number).upload
    placed = incoming.publish()
    if placed is None:
        return False
    episode = Episode.from_upload(upload, size_bytes=incoming.size_bytes, received_at_ns=NOW_NS)
    if not backends.index.append(episode, placed):
        incoming.discard()
        return False
    incoming.settle()
    return True


def test_what_was_counted_is_there_after_a_restart_and_can_be_published(
    place: Place, backends: Backends
) -> None:
    data = content(1)
    made = backends.partials.create(announced())
    assert (made.offset, made.verdict, made.touched_ns) == (0, None, NOW_NS)
    assert place.open().partials.find(made.upload_id) == made
    put_down(backends.partials, made.upload_id, data[:101])
    other = place.open()
    found = other.partials.find(made.upload_id)
    assert found is not None
    assert (found.announced, found.offset, found.touched_ns) == (announced(), 101, NOW_NS + 1)
    assert list(other.store.all_keys()) == []
    with other.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None and partial.has_bytes and partial.state == found
        append(partial, data[101:])
        partial.put_down(NOW_NS + 2)
        assert partial.state.has_every_byte and partial.size_bytes == len(data)
        assert partial.hexdigest() == sha256(data)
        with partial.open() as stream:
            assert stream.read() == data
        partial.sync()
        assert publish(backends, partial)
        partial.end(STORED)
    stored = backends.store.open(key(1))
    assert stored is not None
    with stored:
        assert stored.stream.read() == data
    ended = place.open().partials.find(made.upload_id)
    assert ended is not None and ended.verdict == STORED
    assert list(place.open().partials.waiting()) == []


def test_what_was_not_counted_is_nobodys(place: Place, backends: Backends) -> None:
    made = backends.partials.create(announced())
    put_down(backends.partials, made.upload_id, b"one half, ")
    in_a_process_that_dies(commit_and_die, place, made.upload_id)
    with backends.partials.lease(made.upload_id, wait_seconds=10) as partial:
        assert partial is not None
        assert partial.state.offset == partial.size_bytes == 10
        append(partial, b"not counted")
    with backends.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, b"the other")
        assert partial.hexdigest() == sha256(b"one half, the other")


def commit_and_die(place: Place, upload_id: str) -> None:
    with place.open().partials.lease(upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, b"garbage that is longer than what comes instead")
        os._exit(9)


def test_one_writer_has_it_and_hears_that_another_wants_it(place: Place, backends: Backends) -> None:
    partials = place.open().partials
    made = backends.partials.create(announced())
    with backends.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None and not partial.is_wanted()
        append(partial, b"x")
        partial.put_down(NOW_NS + 1)
        assert not partial.is_wanted()
        partials.want(made.upload_id)
        assert partial.is_wanted()
        with pytest.raises(UploadLocked), partials.lease(made.upload_id, wait_seconds=0.05):
            pass
        # Whoever asks is told, though somebody is at work on it.
        found = partials.find(made.upload_id)
        assert found is not None and found.offset == 1
    with partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None


def test_many_processes_take_turns(place: Place, backends: Backends) -> None:
    made = backends.partials.create(announced())
    in_processes(append_ten, [(place, made.upload_id)] * 4)
    found = backends.partials.find(made.upload_id)
    assert found is not None and found.offset == 40


def append_ten(place: Place, upload_id: str) -> None:
    partials = place.open().partials
    for _ in range(10):
        with partials.lease(upload_id, wait_seconds=30) as partial:
            assert partial is not None
            append(partial, b"x")
            partial.put_down(partial.state.touched_ns + 1)


def test_of_two_uploads_of_one_name_one_is_published(backends: Backends) -> None:
    data = content(1)
    made = [backends.partials.create(announced()) for _ in range(2)]
    for one, published in zip(made, (True, False), strict=True):
        put_down(backends.partials, one.upload_id, data)
        with backends.partials.lease(one.upload_id, wait_seconds=0) as partial:
            assert partial is not None
            partial.sync()
            assert publish(backends, partial) is published
            partial.end(STORED)
    assert list(backends.store.all_keys()) == [key(1)]
    assert list(backends.store.unsettled()) == []
    # Nor does it take the place of what came in another way.
    late = backends.partials.create(announced(2))
    with backends.store.receive(key(2), Stamps()) as incoming:
        append(incoming, b"of another")
        incoming.sync()
        assert publish(backends, incoming, 2)
    put_down(backends.partials, late.upload_id, content(2))
    with backends.partials.lease(late.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        partial.sync()
        assert not publish(backends, partial, 2)


def test_a_verdict_ends_it_for_good(place: Place, backends: Backends) -> None:
    data = content(1)
    made = backends.partials.create(announced())
    put_down(backends.partials, made.upload_id, data[:100])
    refused = Verdict("bad-archive", NOW_NS + HOUR_NS, None, "é, and “quotes”")
    with backends.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        partial.end(refused)
    again = place.open().partials
    found = again.find(made.upload_id)
    assert found is not None and found.verdict == refused
    with again.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is None
    assert again.announced_bytes() == 0
    at_once = again.create_ended(announced(2), STORED)
    assert place.open().partials.find(at_once.upload_id) == at_once
    # They are forgotten by the time of their verdict.
    again.forget_before(NOW_NS + HOUR_NS)
    assert again.find(made.upload_id) is not None
    again.forget_before(NOW_NS + HOUR_NS + 1)
    assert again.find(made.upload_id) is None is again.find(at_once.upload_id)
    last = again.create_ended(announced(3), STORED)
    again.forget(last.upload_id)
    again.forget(last.upload_id)
    assert again.find(last.upload_id) is None


def test_what_waits_is_listed_and_summed_up(place: Place, backends: Backends) -> None:
    sizes = [len(content(number)) for number in range(3)]
    made = [backends.partials.create(announced(number)) for number in range(3)]
    put_down(backends.partials, made[0].upload_id, b"12345")
    # As a process finds it that starts now: another one's sum may be a second old.
    now = place.open().partials
    assert now.announced_bytes() == sum(sizes) - 5
    waiting = {one.upload_id: one.offset for one in now.waiting()}
    assert waiting == {made[0].upload_id: 5, made[1].upload_id: 0, made[2].upload_id: 0}
    assert now.find("0" * 32) is None
    with now.lease("0" * 32, wait_seconds=0) as partial:
        assert partial is None


def test_a_checkpoint_counts_sooner_or_later(place: Place, backends: Backends) -> None:
    made = backends.partials.create(announced())
    with backends.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, b"first")
        partial.checkpoint(NOW_NS + 1)
        append(partial, b"second")
        partial.put_down(NOW_NS + 2)
    found = place.open().partials.find(made.upload_id)
    assert found is not None and (found.offset, found.touched_ns) == (11, NOW_NS + 2)

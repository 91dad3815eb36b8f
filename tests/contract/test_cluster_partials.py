"""`storage.postgres.cluster_partials`: what is true of uploads in pieces because any receiver may go on with them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import (
    DatabaseUnavailable,
    StorageFailed,
    StoreUnavailable,
    UploadLocked,
    UploadLost,
)
from cis490_receiver.models import Episode, Upload
from cis490_receiver.policy.inspection import inspector
from cis490_receiver.postgres import schema
from cis490_receiver.postgres.pool import Database
from cis490_receiver.resumable import Resumables
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import Incoming
from cis490_receiver.storage.base.partials import Announced, PartialUpload, Verdict
from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from cis490_receiver.storage.postgres.cluster_partial import PIECE_BYTES
from cis490_receiver.storage.postgres.cluster_partials import ClusterPartials
from cis490_receiver.storage.postgres.piece_rows import HeldRows, StoredPiece
from cis490_receiver.storage.postgres.upload_rows import UploadRows
from cis490_receiver.upkeep.collect import Collected, collect_pieces, orphans
from tests.contract.places import (
    LEASE_SECONDS,
    NOW_NS,
    Objects,
    append,
    database_of,
    in_a_process_that_dies,
    key,
    placements_of,
    sha256,
)
from tests.support import objects, postgres

DATA: Final = b"an upload in two pieces, " * 40
HALF: Final = len(DATA) // 2
#: More than two pieces, the last one short.
LARGE: Final = bytes(range(251)) * (2 * PIECE_BYTES // 251 + 5000)
ENDED: Final = Verdict("deleted", NOW_NS)


def announced(data: bytes = DATA) -> Announced:
    return Announced(Upload(key(1), sha256(data), Stamps(), len(data)), "somebody", "", NOW_NS)


def fill(incoming: Incoming, data: bytes) -> None:
    view = memoryview(data)
    while view:
        count = min(len(incoming.lend()), len(view))
        append(incoming, bytes(view[:count]))
        view = view[count:]


@dataclass(frozen=True)
class Bytes:
    """A piece that comes at once."""

    data: bytearray

    @property
    def length(self) -> int:
        return len(self.data)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self.data))
        buffer[:count] = self.data[:count]
        del self.data[:count]
        return count

    def on_silence(self, tell: Any) -> None:
        pass


class Receiver:
    """One of many."""

    def __init__(self, place: Objects) -> None:
        self.place = place
        self.backends: Backends = place.open()
        self.partials = self.backends.partials
        self.resumables = Resumables(
            self.partials,
            self.backends.store,
            self.backends.index,
            SystemClock(),
            inspector(Settings(validate="none")),
            72,
        )

    def put_down(self, state: PartialUpload, data: bytes) -> None:
        with self.partials.lease(state.upload_id, wait_seconds=10) as partial:
            assert partial is not None
            fill(partial, data)
            partial.put_down(NOW_NS + 1)

    def offset(self, state: PartialUpload) -> int:
        found = self.partials.find(state.upload_id)
        assert found is not None
        return found.offset

    def is_stored(self, data: bytes) -> bool:
        stored = self.backends.store.open(key(1))
        assert stored is not None
        with stored:
            return stored.stream.read() == data

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return postgres.shared().ask(sql, self.place.url)

    def pieces(self) -> list[str]:
        """The objects of pieces that there are."""
        return [name for name in objects.names(self.place.client) if "/.pieces/" in name]

    def collect(self, older_than_seconds: float) -> Collected:
        assert isinstance(self.partials, ClusterPartials)
        return collect_pieces(self.place.client, self.partials.pieces, older_than_seconds=older_than_seconds)

    def leaves_nothing_but(self, count: int) -> bool:
        """Whether there are so many objects, which are episodes, and no more."""
        unknown = orphans(self.place.client, placements_of(self.place.url), before_ns=2**63)
        assert self.ask("SELECT * FROM pieces") == [] == list(unknown)
        return len(objects.names(self.place.client)) == count


@pytest.fixture
def receivers(place: Objects) -> tuple[Receiver, Receiver]:
    return Receiver(place), Receiver(place)


Two = tuple[Receiver, Receiver]


@pytest.mark.parametrize("since", ["- interval '1 s'", "+ interval '3 h'"], ids=["run-out", "other-clock"])
def test_a_holder_whose_lease_was_taken_changes_nothing_any_more(receivers: Two, since: str) -> None:
    one, two = receivers
    made = one.partials.create(announced())
    with one.partials.lease(made.upload_id, wait_seconds=0) as slow:
        assert slow is not None
        append(slow, DATA[:100])
        slow.put_down(NOW_NS + 1)
        append(slow, b"what comes too late")
        one.ask(f"UPDATE resumables SET held_until = clock_timestamp() {since}")
        with two.partials.lease(made.upload_id, wait_seconds=0) as partial:
            assert partial is not None and partial.state.offset == 100
            append(partial, DATA[100:300])
            partial.put_down(NOW_NS + 2)
            for step in (lambda: slow.put_down(NOW_NS + 3), lambda: slow.end(ENDED), slow.hexdigest):
                with pytest.raises(UploadLocked):
                    step()
            append(partial, DATA[300:])
            partial.put_down(NOW_NS + 4)
            assert partial.hexdigest() == sha256(DATA)
    assert one.offset(made) == len(DATA)


def test_a_piece_that_was_sent_when_the_lease_was_taken_is_not_counted(receivers: Two) -> None:
    one, _ = receivers
    made = one.partials.create(announced())
    database = database_of(one.place.url)
    uploads = UploadRows(database, lease_seconds=0)
    slow, next_one = uuid4(), uuid4()
    assert uploads.take(made.upload_id, slow) is not None
    rows, piece = HeldRows(database, made.upload_id, slow), StoredPiece("piece", 0, 9)
    rows.note(piece)
    assert uploads.take(made.upload_id, next_one) is not None
    for step in (
        lambda: rows.count([piece], start=0, end=9, now_ns=NOW_NS),
        lambda: rows.put_together_in("whole"),
        rows.check,
        rows.lose,
    ):
        with pytest.raises(UploadLocked):
            step()
    current = HeldRows(database, made.upload_id, next_one)
    for _ in range(2):
        # The second time because the answer to the first may have been lost.
        current.count([piece], start=0, end=9, now_ns=NOW_NS)
    assert current.drop([piece]) == [] and current.counted() == [piece]


def test_a_holder_that_lives_has_it_however_long_its_step_takes(place: Objects) -> None:
    database = database_of(place.url)
    one, two = (
        ClusterPartials(database, place.client, placements_of(place.url), lease_seconds=1) for _ in range(2)
    )
    made = one.create(announced())
    with one.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, DATA)
        with pytest.raises(UploadLocked), two.lease(made.upload_id, wait_seconds=1.5):
            pass
        partial.put_down(NOW_NS + 1)
    with two.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None and partial.state.has_every_byte


def test_a_receiver_that_dies_before_it_counted_leaves_what_is_collected(receivers: Two) -> None:
    one, two = receivers
    made = one.partials.create(announced())
    one.put_down(made, DATA[:HALF])
    in_a_process_that_dies(store_and_die, one.place, made.upload_id)
    assert len(two.pieces()) == 2 and two.offset(made) == HALF
    # Its writer may be slow, and not dead.
    assert two.collect(3600) == Collected(0, 0)
    # Nor does who looks for unknown episodes meet with pieces.
    assert list(orphans(two.place.client, placements_of(two.place.url), before_ns=2**63)) == []
    two.put_down(made, DATA[HALF:])
    assert two.collect(0) == Collected(1, 0) and len(two.pieces()) == 2
    assert two.resumables.look(made).verdict is not None
    assert one.is_stored(DATA) and one.leaves_nothing_but(1)


def store_and_die(place: Objects, upload_id: str) -> None:
    HeldRows.count = lambda *_, **__: os._exit(9)  # type: ignore[method-assign]
    with place.open().partials.lease(upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, DATA[HALF:])
        partial.put_down(NOW_NS + 1)


def test_a_writer_that_is_slower_than_who_collects_finds_its_piece_gone(receivers: Two) -> None:
    one, two = receivers
    made = one.partials.create(announced(LARGE))
    with one.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        fill(partial, LARGE)
        # To be hashed they must be stored.
        assert partial.hexdigest() == sha256(LARGE)
        assert two.collect(0) == Collected(2, 0)
        with pytest.raises(UploadLocked):
            partial.put_down(NOW_NS + 1)
    assert two.offset(made) == 0
    two.collect(0)
    assert two.leaves_nothing_but(0)


def test_a_receiver_that_dies_before_the_verdict_has_stored_it(receivers: Two) -> None:
    one, two = receivers
    made = one.partials.create(announced())
    one.put_down(made, DATA)
    with one.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        partial.sync()
        placements = placements_of(one.place.url)
        placed = partial.publish()
        assert placed is not None
        upload = announced().upload
        episode = Episode.from_upload(upload, size_bytes=partial.size_bytes, received_at_ns=NOW_NS)
        assert one.backends.index.append(episode, placed) and placed == placements.episodes[key(1)].object_key
        # Here it is killed.
    state = two.resumables.look(made)
    assert state.verdict is not None and state.verdict.status == "stored"
    assert two.is_stored(DATA) and two.leaves_nothing_but(1)


def test_a_piece_that_is_lost_ends_the_upload(receivers: Two) -> None:
    one, two = receivers
    made = one.partials.create(announced())
    one.put_down(made, DATA[:HALF])
    for name in one.pieces():
        one.place.client.delete(name)
    state = two.partials.find(made.upload_id)
    assert state is not None
    with pytest.raises(StorageFailed):
        two.resumables.append(state, HALF, Bytes(bytearray(DATA[HALF:])), sha256=None)
    for receiver in receivers:
        with pytest.raises(UploadLost):
            receiver.resumables.look(made)
    assert one.leaves_nothing_but(0)


def test_two_receivers_that_complete_it_at_once_store_it_once(receivers: Two) -> None:
    made = receivers[0].partials.create(announced(LARGE))
    receivers[0].put_down(made, LARGE)
    told: list[str] = []

    def look(receiver: Receiver) -> None:
        try:
            verdict = receiver.resumables.look(made).verdict
            told.append(verdict.status if verdict else "")
        except UploadLocked:
            told.append("locked")

    threads = [threading.Thread(target=look, args=(receiver,)) for receiver in receivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) in (["locked", "stored"], ["stored", "stored"])
    for receiver in receivers:
        state = receiver.resumables.look(made)
        assert state.verdict is not None and state.verdict.status == "stored"
        assert receiver.is_stored(LARGE) and receiver.leaves_nothing_but(1)


def test_what_is_larger_than_a_piece_and_not_counted_is_nobodys(receivers: Two) -> None:
    one, two = receivers
    made = one.partials.create(announced(LARGE))
    with one.partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        fill(partial, LARGE)
        assert partial.hexdigest() == sha256(LARGE)
    assert two.offset(made) == 0 and two.leaves_nothing_but(0)
    two.put_down(made, LARGE)
    assert len(two.pieces()) == 3


def test_a_store_that_is_away_takes_nothing_that_was_counted(receivers: Two) -> None:
    one, two = receivers
    made = one.partials.create(announced())
    one.put_down(made, DATA[:HALF])
    proxy = objects.Proxy(one.place.server.port)
    proxy.pass_bytes = 0
    options = one.place.server.options(proxy.port)
    client = ObjectClient(
        ObjectsConfig(objects.BUCKET, one.place.client.config.prefix, options, request_seconds=1, retries=0)
    )
    database = Database(one.place.url)
    cut_off = ClusterPartials(database, client, placements_of(one.place.url))
    with cut_off.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, DATA[HALF:])
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                partial.put_down(NOW_NS + 2)
    proxy.close()
    database.close()
    assert two.offset(made) == HALF
    two.put_down(made, DATA[HALF:])
    assert two.resumables.look(made).verdict is not None and two.is_stored(DATA)
    assert two.collect(0).failed == 0 and two.leaves_nothing_but(1)


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    made = postgres.Server()
    yield made
    made.remove()


def test_a_database_that_is_away_takes_nothing_that_was_counted(
    place: Objects, server: postgres.Server
) -> None:
    schema.migrate(server.url())
    database = Database(server.url(), patience_seconds=0.2)
    partials = ClusterPartials(database, place.client, placements_of(place.url), lease_seconds=LEASE_SECONDS)
    made = partials.create(announced())
    with partials.lease(made.upload_id, wait_seconds=0) as partial:
        assert partial is not None
        append(partial, DATA[:HALF])
        partial.put_down(NOW_NS + 1)
        append(partial, DATA[HALF:])
        server.kill()
        with pytest.raises(DatabaseUnavailable):
            partial.put_down(NOW_NS + 2)
    with pytest.raises(DatabaseUnavailable), partials.lease(made.upload_id, wait_seconds=0):
        pass
    server.start()
    postgres.wait_until_noticed(database)
    # It could not say that it lets go.
    with partials.lease(made.upload_id, wait_seconds=10) as partial:
        assert partial is not None and partial.state.offset == HALF
        append(partial, DATA[HALF:])
        partial.put_down(NOW_NS + 3)
        assert partial.hexdigest() == sha256(DATA)
    database.close()

"""`storage.objects` on a store that honours what S3 promises, and on one that honours little of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from cis490_receiver.errors import StorageFailed, StoreUnavailable
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.storage.base.placements import Placement
from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from cis490_receiver.storage.object_sending import PART_BYTES
from cis490_receiver.storage.objects import IncomingObject, ObjectStore
from cis490_receiver.upkeep.collect import Collected, collect, orphans
from tests.contract.places import content, key, sha256
from tests.support.objects import BUCKET, KnownPlacements, Proxy, Server, rclone, seaweedfs

pytestmark = pytest.mark.slow

#: More than two parts, the last one short.
LARGE = bytes(range(251)) * (2 * PART_BYTES // 251 + 5000)


@pytest.fixture(scope="module", params=[seaweedfs, rclone], ids=lambda kind: kind.__name__)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with request.param(tmp_path_factory.mktemp("objects") / "server") as running:
        yield running


class Cluster:
    """A store, what is known of its objects, and what stands between."""

    def __init__(self, server: Server, prefix: str, *, patience_seconds: float) -> None:
        self.server = server
        self.proxy = Proxy(server.port)
        self.placements = KnownPlacements()
        options = server.options(self.proxy.port)
        self.client = ObjectClient(ObjectsConfig(BUCKET, prefix, options, patience_seconds, retries=1))
        self.store = ObjectStore(self.client, self.placements)
        #: Past the proxy.
        self.objects = ObjectClient(ObjectsConfig(BUCKET, prefix, server.options()))

    def visible(self) -> list[str]:
        return [found.object_key for found in self.objects.list()]

    def append(self, number: int, incoming: IncomingObject) -> bool:
        placed = incoming.publish()
        found = Placement(placed, incoming.size_bytes, incoming.hexdigest(), self.placements.at_ns)
        return self.placements.append(key(number), found)

    def store_one(self, number: int, data: bytes) -> bool:
        """What `ingest` does: gives whether the name was free."""
        with self.store.receive(key(number), Stamps()) as incoming:
            fill(incoming, data)
            assert incoming.hexdigest() == sha256(data)
            incoming.sync()
            if self.append(number, incoming):
                incoming.settle()
                return True
            incoming.discard()
            return False


@pytest.fixture
def cluster(server: Server, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    # A store that fails is to be noticed soon; a busy one that does not is to be waited for.
    fails = "fails_in_the_middle" in request.node.name
    made = Cluster(server, f"lab/{abs(hash(request.node.name)):x}", patience_seconds=4 if fails else 20)
    yield made
    made.proxy.close()


def fill(incoming: IncomingObject, data: bytes) -> None:
    view = memoryview(data)
    while view:
        buffer = incoming.lend()
        count = min(len(buffer), len(view))
        buffer[:count] = view[:count]
        incoming.commit(count)
        view = view[count:]


def read(store: EpisodeStore, number: int) -> bytes:
    stored = store.open(key(number))
    assert stored is not None
    with stored:
        return stored.stream.read()


@pytest.mark.parametrize("data", [b"", content(1), LARGE[:PART_BYTES], LARGE], ids=len)
def test_what_was_stored_is_read_whole_and_in_parts(cluster: Cluster, data: bytes) -> None:
    store = cluster.store
    store.check_writable()
    assert store.open(key(1)) is None and not store.exists(key(1))
    assert cluster.store_one(1, data)
    assert store.exists(key(1)) and list(store.all_keys()) == [key(1)]
    assert read(store, 1) == data
    stored = store.open(key(1))
    assert stored is not None and stored.size_bytes == len(data)
    with stored:
        for start in (len(data) // 2, 3, max(len(data) - 7, 0), len(data) + 5):
            stored.stream.seek(start)
            assert stored.stream.read(300_000) == data[start : start + 300_000]
    with store.hold(key(1), wait_seconds=0) as held:
        assert held is not None and held.hexdigest() == sha256(data) and held.size_bytes == len(data)
        held.make_durable()
        assert held.open().read(10) == data[:10]
    assert cluster.visible() == [cluster.placements.episodes[key(1)].object_key]
    assert not cluster.placements.notes


@pytest.mark.parametrize("data", [content(1), LARGE], ids=len)
def test_an_upload_is_an_episode_of_nobody_until_the_index_has_it(cluster: Cluster, data: bytes) -> None:
    with cluster.store.receive(key(1), Stamps()) as incoming:
        fill(incoming, data)
        # What looks into the body reads it before it is synced.
        with incoming.open() as stream:
            assert stream.read() == data
        assert not cluster.store.exists(key(1))
    assert cluster.visible() == [] and not cluster.placements.notes


def test_of_two_writers_one_wins_and_the_other_leaves_nothing(cluster: Cluster) -> None:
    both_are_sent = threading.Barrier(2)
    won: dict[int, bool] = {}

    def write(writer: int) -> None:
        with cluster.store.receive(key(1), Stamps()) as incoming:
            fill(incoming, content(writer))
            incoming.sync()
            both_are_sent.wait(30)
            won[writer] = cluster.append(1, incoming)
            if not won[writer]:
                incoming.discard()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won.values()) == [False, True]
    assert read(cluster.store, 1) == content(1 if won[1] else 2)
    assert cluster.visible() == [cluster.placements.episodes[key(1)].object_key]


@pytest.mark.parametrize("data", [content(1) * 500, LARGE], ids=len)
@pytest.mark.parametrize("spoil", ["cut", "refuse", "hang"])
def test_a_store_that_fails_in_the_middle_is_named_and_shows_nothing(
    cluster: Cluster, spoil: str, data: bytes
) -> None:
    cluster.proxy.spoil = spoil
    cluster.proxy.pass_bytes = len(data) // 2
    with (
        pytest.raises(StoreUnavailable),
        cluster.store.receive(key(1), Stamps()) as incoming,
    ):
        fill(incoming, data)
        incoming.sync()
    assert not cluster.store.exists(key(1))
    cluster.proxy.pass_bytes = None
    # Whatever the way out could not discard, is the collector's.
    cluster.placements.at_ns = 1
    for _ in range(2):
        collect(cluster.objects, cluster.placements, before_ns=2)
    assert cluster.visible() == [] and not cluster.placements.notes
    assert cluster.store_one(1, data) and read(cluster.store, 1) == data


def test_a_body_that_is_cut_leaves_nothing_to_see_and_nothing_in_parts(cluster: Cluster) -> None:
    # Those whose store failed in the middle may be there still.
    before = cluster.server.unfinished_uploads()
    with pytest.raises(ZeroDivisionError), cluster.store.receive(key(1), Stamps()) as incoming:
        fill(incoming, LARGE)
        raise ZeroDivisionError
    assert cluster.visible() == [] and not cluster.placements.notes
    assert cluster.server.unfinished_uploads() == before


def test_a_writer_slower_than_the_collector_makes_no_episode(cluster: Cluster) -> None:
    assert cluster.store_one(2, content(2))
    with cluster.store.receive(key(1), Stamps()) as incoming:
        fill(incoming, content(1))
        incoming.sync()
        cluster.placements.at_ns = 10
        assert collect(cluster.client, cluster.placements, before_ns=0) == Collected(0, 0)
        assert collect(cluster.client, cluster.placements, before_ns=5) == Collected(1, 0)
        with pytest.raises(KeyError):
            cluster.append(1, incoming)
    assert not cluster.store.exists(key(1)) and read(cluster.store, 2) == content(2)
    assert cluster.visible() == [cluster.placements.episodes[key(2)].object_key]


def test_what_became_of_an_upload_is_decided_by_its_note(cluster: Cluster) -> None:
    """As when the answer to the index's commit was lost, whether it was made or not."""
    with cluster.store.receive(key(1), Stamps()) as incoming:
        fill(incoming, content(1))
        incoming.sync()
        assert cluster.append(1, incoming)
    assert read(cluster.store, 1) == content(1)
    with cluster.store.receive(key(2), Stamps()) as incoming:
        fill(incoming, content(2))
        incoming.sync()
        incoming.publish()
    assert cluster.visible() == [cluster.placements.episodes[key(1)].object_key]
    assert not cluster.placements.notes


def test_what_a_collector_cannot_delete_the_next_one_does_and_orphans_are_told(cluster: Cluster) -> None:
    assert cluster.store_one(2, content(2))
    with cluster.store.receive(key(1), Stamps()) as incoming:
        fill(incoming, content(1))
        incoming.sync()
        left = incoming.publish()
        # The writer is killed.
        incoming.settle()
    assert left in cluster.visible()
    cluster.proxy.pass_bytes = 0
    assert collect(cluster.client, cluster.placements, before_ns=1) == Collected(0, 1)
    ages = 1 << 62
    assert list(orphans(cluster.objects, cluster.placements, before_ns=ages)) == []
    assert list(cluster.placements.given_up(1)) == [left]
    # A database that was restored from a backup knows of neither.
    cluster.placements.notes.clear()
    assert [found.object_key for found in orphans(cluster.objects, cluster.placements, before_ns=ages)] == [
        left
    ]
    assert list(orphans(cluster.objects, cluster.placements, before_ns=1)) == []


def test_an_object_that_is_gone_or_short_is_seen_to_be(cluster: Cluster) -> None:
    assert cluster.store_one(1, content(1))
    cluster.objects.put_small(cluster.placements.episodes[key(1)].object_key, b"short")
    assert read(cluster.store, 1) == b"short"
    cluster.objects.delete(cluster.placements.episodes[key(1)].object_key)
    assert cluster.store.open(key(1)) is None
    assert cluster.store.quarantine(key(1), lambda held: held.size_bytes == 0)
    assert cluster.store_one(1, content(3)) and read(cluster.store, 1) == content(3)


def test_what_the_store_has_is_compared_with_what_was_sent(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A store whose tags prove nothing, as an encrypted bucket's, and that says yes to other bytes.
    put = ObjectClient.put_small

    def put_spoilt(to: Callable[[bytes], bytes]) -> None:
        def spoil(self: ObjectClient, object_key: str, data: memoryview) -> str:
            put(self, object_key, to(bytes(data)))
            return '"opaque"'

        monkeypatch.setattr(ObjectClient, "put_small", spoil)

    put_spoilt(lambda data: data)
    assert cluster.store_one(1, content(1))
    for number, spoilt in enumerate((content(9), content(1)[:-1]), 2):
        put_spoilt(lambda data, spoilt=spoilt: spoilt)  # type: ignore[misc]
        with pytest.raises(StorageFailed):
            cluster.store_one(number, content(1))
        assert not cluster.store.exists(key(number))

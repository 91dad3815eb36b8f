"""The places that the contract is tried on, and what the tests put there."""

from __future__ import annotations

import hashlib
import multiprocessing
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, Self, cast

from cis490_receiver.backends import Backends, open_backends
from cis490_receiver.config import Settings
from cis490_receiver.index.postgres.episodes import PostgresIndex
from cis490_receiver.index.postgres.rejections import PostgresRejections
from cis490_receiver.index.postgres.releases import PostgresReleases
from cis490_receiver.index.postgres.reports import PostgresReports
from cis490_receiver.index.postgres.withdrawals import PostgresWithdrawals
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.postgres.pool import Database
from cis490_receiver.stamps import Stamps
from cis490_receiver.state.postgres.alerts import PostgresAlerts
from cis490_receiver.state.postgres.gate_list import PostgresGateList
from cis490_receiver.state.postgres.inspections import PostgresInspections
from cis490_receiver.state.postgres.marks import PostgresHeartbeat, PostgresMemo
from cis490_receiver.state.postgres.notes import PostgresMutes, PostgresRetirements
from cis490_receiver.state.postgres.outbox import PostgresOutbox
from cis490_receiver.state.postgres.signing_in import PostgresCodes, PostgresSessionKey
from cis490_receiver.state.postgres.tokens import PostgresTokens
from cis490_receiver.storage.base import EpisodeStore, Incoming
from cis490_receiver.storage.object_blobs import ObjectBlobs
from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from cis490_receiver.storage.objects import ObjectStore
from cis490_receiver.storage.postgres.cluster_partials import ClusterPartials
from cis490_receiver.storage.postgres.inventory import ClusterInventory
from cis490_receiver.storage.postgres.placements import PostgresPlacements
from tests.support import objects, postgres

NOW_NS: Final = 1_800_000_000 * 10**9
SECOND_NS: Final = 10**9
HOUR_NS: Final = 3600 * SECOND_NS
#: Longer than any step here takes on a busy machine.
PATIENCE_SECONDS: Final = 60.0
#: How long a dead process has an upload in a cluster.
LEASE_SECONDS: Final = 2.0


class Place(Protocol):
    """A place of one kind. It can be pickled, so that another process finds the same."""

    def open(self) -> Backends:
        """All that is kept there, as a process finds it that starts now."""
        ...


@dataclass(frozen=True)
class Local:
    """The local disk."""

    folder: Path

    def open(self) -> Backends:
        """See `Place.open`."""
        tokens = self.folder.with_name("tokens.toml")
        return open_backends(Settings(data_dir=self.folder, tokens_file=tokens, disk_reserve_bytes=0))


@dataclass(frozen=True)
class Postgres:
    """What PostgreSQL keeps for many machines, and the local disk for the rest."""

    folder: Path
    url: str

    @classmethod
    def make(cls, folder: Path) -> Postgres:
        """A new one, with nothing in it."""
        return cls(folder, postgres.shared().migrated())

    def open(self) -> Backends:
        """See `Place.open`."""
        database = database_of(self.url)
        self.folder.mkdir(exist_ok=True)
        return replace(
            Local(self.folder).open(),
            index=NotedIndex(self.folder, database),
            alerts=PostgresAlerts(database),
            outbox=PostgresOutbox(database),
            mutes=PostgresMutes(database),
            retirements=PostgresRetirements(database),
            heartbeat=PostgresHeartbeat(database),
            faults=PostgresMemo(database, "faults"),
            verify_place=PostgresMemo(database, "verify"),
            gate_list=PostgresGateList(database),
            inspections=PostgresInspections(database),
            tokens=PostgresTokens(database),
            rejections=PostgresRejections(database),
            reports=PostgresReports(database),
            withdrawals=PostgresWithdrawals(database),
            session_key=PostgresSessionKey(database),
            codes=PostgresCodes(database),
        )


@dataclass(frozen=True)
class Objects:
    """Episodes in an object store of the kind `kind`, and uploads in pieces there and in PostgreSQL; the local disk for
    the rest."""

    folder: Path
    url: str
    server: objects.Server

    @classmethod
    def make(cls, kind: str, folder: Path) -> Self:
        """A new one, with nothing in it."""
        return cls(folder, postgres.shared().migrated(), objects.shared(kind))

    @property
    def client(self) -> ObjectClient:
        """What finds the objects."""
        return ObjectClient(ObjectsConfig(objects.BUCKET, self.folder.parent.name, self.server.options()))

    def open(self) -> Backends:
        """See `Place.open`."""
        placements = placements_of(self.url)
        return replace(
            Local(self.folder).open(),
            store=ObjectStore(self.client, placements),
            partials=ClusterPartials(
                database_of(self.url), self.client, placements, lease_seconds=LEASE_SECONDS
            ),
            index=cast(Any, index_of(self.url)),
        )


@dataclass(frozen=True)
class Cluster(Objects):
    """Where receivers on many machines keep things; the local disk for uploads in pieces."""

    def open(self) -> Backends:
        """See `Place.open`."""
        database = database_of(self.url)
        placed = Postgres(self.folder, self.url).open()
        index = cast(NotedIndex, placed.index)
        return replace(
            placed,
            store=ObjectStore(self.client, index.placements),
            inventory=ClusterInventory(database, self.client),
            releases=PostgresReleases(database, ObjectBlobs(self.client), index),
        )


@cache
def placements_of(url: str) -> objects.KnownPlacements:
    """What is known of the objects, in this process."""
    return objects.KnownPlacements()


@cache
def index_of(url: str) -> objects.KnownIndex:
    """The index over them."""
    return objects.KnownIndex(placements_of(url))


class NotedIndex(PostgresIndex):
    """The index of many machines, for records of objects that nobody made."""

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder, database)
        self.placements = PostgresPlacements(database)

    def append(self, episode: Episode, placed: str = "") -> bool:
        """See `EpisodeIndex.append`; an object that is not named is made up, and noted."""
        if not placed:
            placed = secrets.token_hex(16)
            self.placements.register(episode.key, placed)
        return super().append(episode, placed)


@cache
def database_of(url: str) -> Database:
    """The connections of this process."""
    return Database(url)


IMPLEMENTATIONS: Final[dict[str, Callable[[Path], Place]]] = {"local": Local, "postgres": Postgres.make}
#: The contracts, as the modules that ask for them, of what PostgreSQL can keep.
IN_POSTGRES: Final = frozenset(
    {
        "test_alerts",
        "test_episode_index",
        "test_gate_list",
        "test_inspections",
        "test_marks",
        "test_moving",
        "test_notes",
        "test_rejections",
        "test_renewal",
        "test_reports",
        "test_signing_in",
        "test_tokens",
        "test_withdrawals",
    }
)

#: Of what objects and PostgreSQL keep together, and those of them that are about nothing else.
IN_OBJECTS: Final[dict[str, type[Objects]]] = {
    "test_cluster_inventory": Cluster,
    "test_cluster_partials": Objects,
    "test_cluster_releases": Cluster,
    "test_inventory": Cluster,
    "test_partials": Objects,
    "test_releases": Cluster,
}
ONLY_IN_OBJECTS: Final = frozenset(
    {"test_cluster_inventory", "test_cluster_partials", "test_cluster_releases"}
)
STORES: Final = ("seaweedfs", "rclone")

_SPAWN: Final = multiprocessing.get_context("spawn")


def in_processes(what: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """Run `what` with each of `calls` in a process of its own, at once; all must end well."""
    started = _SPAWN.Barrier(len(calls))
    processes = [_SPAWN.Process(target=_at_once, args=(started, what, call)) for call in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
        if process.exitcode is None:
            process.kill()
    assert [process.exitcode for process in processes] == [0] * len(calls)


def _at_once(started: Any, what: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    started.wait()
    what(*arguments)


def in_a_process_that_dies(what: Callable[..., None], *arguments: Any) -> None:
    """Run `what`, which ends its process by ``os._exit(9)``, as a kill does."""
    process = _SPAWN.Process(target=what, args=arguments)
    process.start()
    process.join(PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 9


def key(number: int, host_id: str = "host") -> EpisodeKey:
    return EpisodeKey(host_id, f"e{number:04d}")


def content(number: int) -> bytes:
    return f"content {number} ".encode() * 100


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def append(incoming: Incoming, data: bytes) -> None:
    """Commit `data` by way of a lent buffer."""
    incoming.lend()[: len(data)] = data
    incoming.commit(len(data))


def store_indexed(backends: Backends, number: int, host_id: str = "host") -> None:
    """Store one episode now, with its record, in the order of `ingest`."""
    upload = Upload(key(number, host_id), sha256(content(number)))
    with backends.store.receive(upload.key, Stamps()) as incoming:
        append(incoming, content(number))
        incoming.sync()
        placed = incoming.publish()
        episode = Episode.from_upload(upload, size_bytes=incoming.size_bytes, received_at_ns=time.time_ns())
        assert placed is not None and backends.index.append(episode, placed)
        incoming.settle()


def store_one(store: EpisodeStore, name: EpisodeKey, data: bytes) -> bool:
    """Publish and settle one episode; gives whether its name was free."""
    with store.receive(name, Stamps()) as incoming:
        append(incoming, data)
        incoming.sync()
        published = incoming.publish()
        if published:
            incoming.settle()
        return published


def record(number: int, host_id: str = "host") -> Episode:
    """The record of the episode `number`, which came `number` seconds after `NOW_NS`."""
    upload = Upload(key(number, host_id), sha256(content(number)))
    return Episode.from_upload(
        upload, size_bytes=len(content(number)), received_at_ns=NOW_NS + number * SECOND_NS
    )

"""`postgres.grants`: receivers can do their work, and take nothing away that was acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import uuid4

import psycopg
import pytest

from cis490_receiver.clock import SystemClock
from cis490_receiver.errors import ConfigError
from cis490_receiver.filters import Filters
from cis490_receiver.index.base.releases import Release, ReleaseExists
from cis490_receiver.index.postgres.rejections import PostgresRejections
from cis490_receiver.index.postgres.release_rows import ReleaseRows
from cis490_receiver.index.postgres.reports import PostgresReports
from cis490_receiver.index.postgres.withdrawals import PostgresWithdrawals
from cis490_receiver.postgres import schema
from cis490_receiver.postgres.grants import PRIVILEGES
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.alerts import Verdict
from cis490_receiver.state.base.notes import Mute
from cis490_receiver.state.postgres.alerts import PostgresAlerts
from cis490_receiver.state.postgres.marks import PostgresHeartbeat
from cis490_receiver.state.postgres.notes import PostgresMutes
from cis490_receiver.state.postgres.outbox import PostgresOutbox
from cis490_receiver.state.postgres.signing_in import PostgresCodes, PostgresSessionKey
from cis490_receiver.state.postgres.tokens import PostgresTokens
from cis490_receiver.storage.base.partials import PartialUpload
from cis490_receiver.storage.object_client import ObjectClient, ObjectsConfig
from cis490_receiver.storage.postgres.inventory import ClusterInventory
from cis490_receiver.storage.postgres.piece_rows import HeldRows, PieceRows, StoredPiece
from cis490_receiver.storage.postgres.upload_rows import UploadRows
from tests.contract.places import NOW_NS, NotedIndex, key, record
from tests.contract.test_alerts import alert
from tests.contract.test_partials import STORED, announced
from tests.contract.test_rejections import fact
from tests.contract.test_releases import about
from tests.contract.test_renewal import drop_first, nobody
from tests.contract.test_tokens import add
from tests.contract.test_withdrawals import item
from tests.support import postgres

ROLE = "receiver"


@pytest.fixture
def owner() -> str:
    """The URL of the role that owns the tables."""
    server = postgres.shared()
    url = server.empty()
    if not server.ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'"):
        server.ask(f"CREATE ROLE {ROLE} LOGIN")
    schema.migrate(url, ROLE)
    return url


@pytest.fixture
def receiver(owner: str) -> Iterator[str]:
    """The URL of the role that receivers run as."""
    yield owner.replace("user=owner", f"user={ROLE}")


def test_a_receiver_can_do_all_of_its_work(receiver: str) -> None:
    schema.check(receiver)
    database = Database(receiver)
    alerts, codes = PostgresAlerts(database), PostgresCodes(database)
    alerts.update(lambda before, noted: Verdict((alert(0),), {("host", "s0"): "then"}))
    assert alerts.lasting() and PostgresOutbox(database).deliver(lambda alerts: True, after_ns=0)
    PostgresHeartbeat(database).beat()
    mutes = PostgresMutes(database)
    mutes.set(Mute("a", NOW_NS + 1, ""), NOW_NS)
    assert mutes.end("a", NOW_NS)
    add(PostgresTokens(database), "a")
    assert codes.take(codes.make("a", "0" * 64, NOW_NS), NOW_NS) is not None
    assert PostgresSessionKey(database).load() == PostgresSessionKey(database).load()
    rejections = PostgresRejections(database, most=1)
    rejections.record(fact(0))
    assert list(rejections.since(0)) == [fact(0)]
    for _ in range(2):
        PostgresReports(database).put("a", {}, NOW_NS)
    PostgresWithdrawals(database).append([item(1)])
    assert list(PostgresWithdrawals(database).items()) == [item(1)]
    rows, state, holder = UploadRows(database, 8), PartialUpload("a", announced(), 0, NOW_NS, None), uuid4()
    rows.add(state)
    assert rows.take("a", holder) is not None
    held, piece = HeldRows(database, "a", holder), StoredPiece("b", 0, 5)
    held.note(piece)
    held.count([piece], start=0, end=5, now_ns=NOW_NS)
    assert held.end(STORED) == ["b"] == list(PieceRows(database).garbage(older_than_seconds=0))
    held.forget(["b"])
    rows.forget("a")
    releases = ReleaseRows(database)
    for object_key in ("c", "d"):
        releases.note("r", object_key)
    releases.add(release("r"), "c", [])
    with pytest.raises(ReleaseExists):
        releases.add(release("r"), "d", [])
    assert releases.all() == [release("r")] and list(releases.garbage(older_than_seconds=0)) == ["d"]
    releases.forget(["d"])
    inventory = ClusterInventory(database, ObjectClient(ObjectsConfig("bucket", "")))
    assert inventory.quarantined() == 0 == len(inventory.some_keys(1, Random(1), before_ns=NOW_NS))
    database.close()


def test_a_receiver_can_keep_the_index(receiver: str, tmp_path: Path) -> None:
    index = NotedIndex(tmp_path, Database(receiver))
    index.check_writable()
    for number in range(3):
        assert index.append(record(number))
    placements = index.placements
    assert placements.confirm(key(1)) is not None and index.count(Filters()) == 3
    for name in ("slow", "not-an-episode"):
        placements.register(key(5), name)
    assert sorted(placements.give_up_old(1 << 62)) == ["not-an-episode", "slow"]
    placements.forget(["slow"])
    assert list(placements.given_up(1 << 62)) == ["not-an-episode"] and placements.give_up("not-an-episode")
    found = placements.find(key(0))
    assert found is not None and placements.set_aside(key(0), found.object_key)
    renewal = index.renewal(SystemClock())
    with renewal.alone(), renewal.draft() as draft:
        drop_first(draft)
        draft.put_in_force(nobody)
    assert index.count(Filters()) == 2 and index.find(key(0)) is None


def release(name: str) -> Release:
    amounts = {"size_bytes": 9, "episodes": 1, "episode_bytes": 1, "hosts": 1}
    return Release(name=name, sha256="0" * 64, about=about(), **amounts)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE withdrawals",
        "TRUNCATE withdrawals",
        "DELETE FROM withdrawals",
        "UPDATE withdrawals SET line = ''",
        "DELETE FROM documents",
        "DELETE FROM releases",
        "UPDATE releases SET object_key = ''",
        "UPDATE schema_migrations SET number = 9",
        "CREATE TABLE mine (a int)",
    ],
)
def test_a_receiver_can_take_nothing_away(receiver: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        postgres.shared().ask(statement, receiver)


def test_every_table_has_its_line(owner: str) -> None:
    tables = postgres.shared().ask(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace",
        owner,
    )
    assert {name for (name,) in tables} == set(PRIVILEGES)


@pytest.mark.parametrize(
    ("role", "why"), [("nobody-at-all", "there is no role"), ("owner", "can do everything")]
)
def test_a_role_that_cannot_be_bound_is_refused(owner: str, role: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        schema.migrate(owner, role)

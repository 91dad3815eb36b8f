"""What PostgreSQL keeps for many machines, where it does more than its contract asks of every place."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import pytest

from cis490_receiver.errors import DatabaseUnavailable
from cis490_receiver.index.postgres.rejections import PostgresRejections
from cis490_receiver.index.postgres.withdrawals import PostgresWithdrawals
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.alerts import RAISED, RECOVERED, Alert, Key, Verdict
from cis490_receiver.state.postgres.alerts import PostgresAlerts
from cis490_receiver.state.postgres.gate_list import PostgresGateList
from tests.contract.places import in_processes
from tests.contract.test_alerts import alert
from tests.contract.test_rejections import fact
from tests.contract.test_withdrawals import item
from tests.gate.snapshots import make_snapshot
from tests.support import postgres
from tests.support.postgres import Server, wait_until_noticed


@pytest.fixture
def url() -> str:
    return postgres.shared().migrated()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


def whatever_was_noted(wanted: Alert, before: Mapping[Key, str], noted: Iterable[Alert]) -> Verdict:
    return Verdict((wanted,), before)


def raise_whatever_was_noted(url: str) -> None:
    database = Database(url)
    for number in range(50):
        told = PostgresAlerts(database).update(partial(whatever_was_noted, alert(number))).new
        database.write(
            "INSERT INTO documents (name, content) VALUES (gen_random_uuid()::text, %s)", (str(len(told)),)
        )
    database.close()


def test_an_alert_is_raised_once_whatever_two_machines_think(url: str, database: Database) -> None:
    in_processes(raise_whatever_was_noted, [(url,), (url,)])
    assert [a.symptom for a in PostgresAlerts(database).page(limit=100, cursor=None).alerts] == [
        f"s{number}" for number in range(49, -1, -1)
    ]
    assert database.read("SELECT sum(content::int), count(*) FROM documents") == [(50, 100)]


def test_what_is_over_may_be_said_again_within_the_hour(database: Database) -> None:
    alerts = PostgresAlerts(database)
    both = [alert(0), Alert(*[getattr(alert(0), n) if n != "state" else RECOVERED for n in Alert.__slots__])]
    for expected in ([RAISED, RECOVERED], [RECOVERED]):
        assert [
            new.state for new in alerts.update(lambda before, noted: Verdict(both, before)).new
        ] == expected


def test_rejections_are_bounded_in_rows(database: Database) -> None:
    rejections = PostgresRejections(database, most=10)
    for number in range(45):
        rejections.record(fact(number))
        rejections.record(fact(number, status=200))
    kept = [item.episode_id for item in rejections.since(0) if item.status == 422]
    assert 10 <= len(kept) < 20 and kept[0] == "e44"


def test_while_the_database_is_away_facts_are_lost_quickly_and_lists_stay_in_force() -> None:
    server = Server()
    database = Database(server.migrated(), patience_seconds=0.2)
    now = [0.0]
    rejections = PostgresRejections(database, monotonic=lambda: now[0])
    gate_list, withdrawals = PostgresGateList(database), PostgresWithdrawals(database)
    try:
        gate_list.replace(make_snapshot(1, 0))
        watched = gate_list.watch(lambda snapshot: snapshot.head, lambda head: {"head": head})
        assert watched.current() == make_snapshot(1, 0).head
        server.kill()
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                withdrawals.append([item(1)])
        began = time.monotonic()
        for number in range(500):
            rejections.record(fact(number))
        assert watched.current() == make_snapshot(1, 0).head
        assert time.monotonic() - began < 10
        server.start()
        now[0] = 60.0
        wait_until_noticed(database)
        rejections.record(fact(1000))
        assert [found.episode_id for found in rejections.since(0)] == ["e1000"]
        withdrawals.append([item(1)])
        assert list(withdrawals.items()) == [item(1)]
    finally:
        database.close()
        server.remove()


def test_a_withdrawal_whose_answer_is_lost_is_said_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdrawals, lost = PostgresWithdrawals(database), [True]
    commit = database.transaction

    @contextmanager
    def transaction(commit_seconds: float | None = None, *, reading: bool = False) -> Iterator[object]:
        with commit() as connection:
            yield connection
        if lost.pop() if lost else False:
            raise DatabaseUnavailable

    monkeypatch.setattr(database, "transaction", transaction)
    withdrawals.append([item(1), item(2)])
    assert list(withdrawals.items()) == [item(1), item(2)]
    assert lost == []

"""`postgres.pool`: connections break, servers die and come back, and nothing that was said to be kept is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from cis490_receiver.errors import DatabaseUnavailable, StorageFailed
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.inspections import Inspected, Mark
from cis490_receiver.state.base.notes import Retirement
from cis490_receiver.state.postgres.inspections import PostgresInspections
from cis490_receiver.state.postgres.notes import PostgresRetirements
from tests.support import postgres
from tests.support.postgres import Server


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database(postgres.shared().migrated(), patience_seconds=2)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.remove()


def write_until(stop: threading.Event, database: Database, kept: Queue[str], failed: threading.Event) -> None:
    retirements, number = PostgresRetirements(database), 0
    while not stop.is_set():
        number += 1
        try:
            retirements.set(Retirement(f"h{number}", 1, None, ""))
        except DatabaseUnavailable:
            failed.set()
        else:
            kept.put(f"h{number}")


def test_a_server_that_is_killed_and_comes_back_has_all_it_acknowledged(server: Server) -> None:
    database = Database(server.migrated(), patience_seconds=0.3)
    stop, failed, kept = threading.Event(), threading.Event(), Queue[str]()
    writer = threading.Thread(target=write_until, args=(stop, database, kept, failed))
    acknowledged: list[str] = []
    writer.start()
    try:
        for _ in range(3):
            acknowledged += [kept.get(timeout=30) for _ in range(20)]
            failed.clear()
            server.kill()
            assert failed.wait(30)
            acknowledged += [kept.get_nowait() for _ in range(kept.qsize())]
            server.start()
        acknowledged += [kept.get(timeout=30) for _ in range(20)]
    finally:
        stop.set()
        writer.join()
    assert set(acknowledged) <= set(PostgresRetirements(database).all())
    database.close()


def backend(database: Database) -> int:
    [(process,)] = database.read("SELECT pg_backend_pid()")
    assert isinstance(process, int)
    return process


def test_a_connection_that_was_ended_is_replaced_before_anybody_notices(database: Database) -> None:
    before = backend(database)
    postgres.shared().ask(f"SELECT pg_terminate_backend({before}, 5000)")
    database.write_once("INSERT INTO documents (name, content) VALUES ('a', 'b')")
    assert backend(database) != before


def test_what_breaks_under_way_is_repeated_only_where_that_is_safe(database: Database) -> None:
    database.write("CREATE SEQUENCE tried")
    # Ends its own connection when it is tried first: a sequence does not roll back.
    once = "SELECT CASE WHEN nextval('tried') %% 2 = 1 THEN pg_terminate_backend(pg_backend_pid()) END"
    assert len(database.read(once)) == 1
    with pytest.raises(DatabaseUnavailable):
        database.write_once(once)


def test_a_commit_that_did_not_wait_for_its_standby_is_not_acknowledged(server: Server) -> None:
    database = Database(server.migrated())
    server.ask("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (away)'")
    server.ask("SELECT pg_reload_conf()")
    done = threading.Event()

    def cancel() -> None:
        while not done.wait(0.05):
            server.ask("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with pytest.raises(DatabaseUnavailable):
            database.write("INSERT INTO documents (name, content) VALUES ('a', 'b')")
    finally:
        done.set()
        thread.join()
        database.close()


def test_a_statement_that_is_refused_is_no_outage(database: Database) -> None:
    with pytest.raises(StorageFailed) as caught:
        database.write("INSERT INTO nowhere VALUES (1)")
    assert not isinstance(caught.value, DatabaseUnavailable)


def test_a_child_has_connections_of_its_own(database: Database) -> None:
    before = backend(database)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"%d" % backend(database))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert int(os.read(reading, 20)) != before
    os.close(reading)
    os.close(writing)
    assert backend(database) == before


def test_who_lost_a_lock_writes_nothing_by_it(database: Database) -> None:
    inspections, known = PostgresInspections(database), Inspected(Mark("generation"))
    with inspections.alone_or_not() as alone:
        assert alone
        inspections.write(known)
        postgres.shared().ask(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
            " WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        )
        with PostgresInspections(database).alone_or_not() as other:
            assert other
        with pytest.raises(DatabaseUnavailable):
            inspections.write(Inspected(Mark("later")))
    assert inspections.read() == known

"""`postgres.outage`, `.hosts` and `.answering`: a database that is away, stands still, or is elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from cis490_receiver.errors import DatabaseUnavailable
from cis490_receiver.postgres.answering import AnsweringConnection, NoAnswerError
from cis490_receiver.postgres.hosts import Hosts
from cis490_receiver.postgres.pool import Database
from tests.support.failover import ASYNCHRONOUS, Pair
from tests.support.postgres import Server

THREADS = 16


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.remove()


def seconds_to_ask(database: Database) -> float:
    """How long it takes to be told that there is no answer."""
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        database.read("SELECT 1")
    return time.monotonic() - began


def seconds_until_it_answers(database: Database) -> float:
    began = time.monotonic()
    while time.monotonic() < began + 30:
        try:
            database.write("INSERT INTO documents (name, content) VALUES ('a', 'b') ON CONFLICT DO NOTHING")
        except DatabaseUnavailable:
            time.sleep(0.01)
        else:
            break
    return time.monotonic() - began


def test_who_asks_late_is_told_at_once_and_served_as_soon_as_it_is_back(server: Server) -> None:
    database = Database(server.migrated(), patience_seconds=1.5)
    assert seconds_until_it_answers(database) < 1
    for _ in range(2):
        server.kill()
        assert seconds_to_ask(database) < 3
        # The outage is older than the patience then.
        time.sleep(0.5)
        assert max(seconds_to_ask(database) for _ in range(THREADS)) < 0.1
        server.start()
        assert seconds_until_it_answers(database) < 1
    database.close()


# All before the outage is known, or one after the other.
@pytest.mark.parametrize("pause_seconds", [0, 0.07])
def test_an_outage_shorter_than_the_patience_is_not_noticed(server: Server, pause_seconds: float) -> None:
    database, failures = Database(server.migrated()), list[BaseException]()

    def ask() -> None:
        try:
            database.read("SELECT 1")
        except BaseException as exc:
            failures.append(exc)

    database.read("SELECT 1")
    server.kill()
    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
        time.sleep(pause_seconds)
    time.sleep(0 if pause_seconds else 1)
    server.start()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    assert failures == [] and time.monotonic() - began < 1
    database.close()


def test_a_server_that_stands_still_holds_nobody_up_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnsweringConnection, "answer_seconds", 1)
    database = Database(server.migrated(), patience_seconds=0.5, commit_seconds=0.2)
    database.read("SELECT 1")
    with pytest.raises(DatabaseUnavailable) as caught, database.transaction() as connection:
        server.stop()
        connection.execute("SELECT 1")
    assert isinstance(caught.value.__cause__, NoAnswerError) and connection.closed
    assert seconds_to_ask(database) < 10
    while seconds_to_ask(database) > 0.1:
        pass
    server.go_on()
    assert seconds_until_it_answers(database) < 1
    database.close()


def test_a_primary_that_is_gone_without_a_word_is_asked_last() -> None:
    pair = Pair(ASYNCHRONOUS)
    try:
        database = Database(pair.migrated())
        # Its machine lost its power: connections to it are neither answered nor refused.
        pair.primary.stop()
        pair.standby.promote()
        assert seconds_until_it_answers(database) < 6
        began = time.monotonic()
        database.connect().close()
        assert time.monotonic() - began < 0.5
        database.close()
    finally:
        pair.remove()


def test_the_server_that_was_found_is_asked_first() -> None:
    class Found:
        class info:  # noqa: N801 - as psycopg names it
            host, port = "b", 5432

    for url in ("postgresql://me@a,b,c/x", "host=a,b,c port=5432 user=me dbname=x"):
        hosts = Hosts(url)
        assert conninfo_to_dict(hosts.conninfo())["host"] == "a,b,c"
        hosts.found(Found)  # type: ignore[arg-type]
        words = conninfo_to_dict(hosts.conninfo())
        assert words["host"] == "b,c,a" and (words["user"], words["dbname"]) == ("me", "x")
    assert Hosts("host=a user=me").conninfo() == "host=a user=me"
    assert Hosts("no url").conninfo() == "no url"

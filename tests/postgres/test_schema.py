"""`postgres.schema`: a receiver works with the tables that it knows, on a server that keeps what it says it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from cis490_receiver.errors import ConfigError
from cis490_receiver.postgres import schema
from tests.support import postgres
from tests.support.postgres import Server
from tests.support.receiver import clean_environment


def test_an_older_and_a_newer_schema_are_refused_with_what_to_do() -> None:
    server = postgres.shared()
    url = server.empty()
    with pytest.raises(ConfigError, match=r"has schema 0, .* run: cis490-receiver migrate-schema"):
        schema.check(url)
    assert [step.number for step in schema.migrate(url)] == list(range(1, schema.newest() + 1))
    schema.check(url)
    assert schema.migrate(url) == []
    server.ask(f"INSERT INTO schema_migrations (number, name) VALUES ({schema.newest() + 1}, 'later')", url)
    for look in (schema.check, schema.migrate):
        with pytest.raises(ConfigError, match=r"knows .*; install the version"):
            look(url)


def test_of_migrations_at_once_each_step_is_made_once() -> None:
    url = postgres.shared().empty()
    made: list[schema.Migration] = []
    threads = [threading.Thread(target=lambda: made.extend(schema.migrate(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == list(schema.migrations())


def test_a_step_that_fails_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = postgres.shared()
    url = server.empty()
    broken = schema.Migration(schema.newest() + 1, "broken", "CREATE TABLE half (a int); SELECT 1 / 0")
    steps = (*schema.migrations(), broken)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: steps)
        with pytest.raises(ConfigError, match=r"division by zero"):
            schema.migrate(url)
    schema.check(url)
    assert server.ask("SELECT to_regclass('half')", url) == [(None,)]


@pytest.mark.parametrize("value", ["off", "local"])
def test_a_role_whose_commits_are_not_safe_is_refused(value: str) -> None:
    server = postgres.shared()
    url = server.migrated()
    role = f"hasty_{value}"
    server.ask(f"CREATE ROLE {role} LOGIN SUPERUSER")
    server.ask(f"ALTER ROLE {role} SET synchronous_commit = {value}")
    for look in (schema.check, schema.migrate):
        with pytest.raises(ConfigError, match=rf"synchronous_commit is {value} .*ALTER ROLE"):
            look(url.replace("user=owner", f"user={role}"))


def test_a_server_that_does_not_sync_is_refused() -> None:
    server = Server("fsync=off")
    try:
        with pytest.raises(ConfigError, match=r"fsync = off"):
            schema.migrate(server.url())
        assert server.ask("SELECT to_regclass('schema_migrations')") == [(None,)]
    finally:
        server.remove()


def test_the_command_makes_the_tables_and_says_what_it_did(tmp_path: Path) -> None:
    url = postgres.shared().empty()
    environment = clean_environment() | {"CIS490_DATABASE_URL": url}

    def run(*words: str) -> str:
        program = Path(sys.executable).with_name("cis490-receiver")
        return subprocess.run(
            [program, "migrate-schema", *words],
            env=environment,
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    told = json.loads(run("--json"))
    assert told == {"schema": schema.newest(), "applied": [step.number for step in schema.migrations()]}
    assert "nothing to do" in run()
    schema.check(url)


def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used") as caught:
        schema.check(f"host={tmp_path} user=a password=hush dbname=b")
    assert "hush" not in caught.value.message
    assert isinstance(caught.value.__cause__, psycopg.Error)

"""A PostgreSQL server of this test process alone, on a unix socket, and databases in it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg

from cis490_receiver.errors import DatabaseUnavailable
from cis490_receiver.postgres import schema
from cis490_receiver.postgres.pool import Database, write_something

_PROGRAMS: Final = Path("/usr/lib/postgresql/15/bin")
_PATIENCE_SECONDS: Final = 60.0
_NUMBERS: Final = itertools.count(1)


class Server:
    """One server; `options` go to its command line. Never started as root, who may not. Its data is in memory unless
    it is to be `on_disk`, or on a `disk` of its own; its write-ahead log may be on another one. With a `source` it is a
    standby of that one. Its clock is apart by `clock`, as ``+5h``."""

    def __init__(
        self,
        *options: str,
        on_disk: bool = False,
        source: Server | None = None,
        clock: str | None = None,
        disk: Path | None = None,
        log_disk: Path | None = None,
    ) -> None:
        # Syncs are asked for as in earnest, and cost nothing in memory.
        memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) and not on_disk else None
        self.folder = Path(tempfile.mkdtemp(prefix="cis490-postgres-", dir=disk or memory))
        self.data = self.folder / "data"
        self._options = options
        self._clock = ["faketime", "-f", clock] if clock else []
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        if source is not None:
            self.copy(source)
            return
        arguments = ["--auth=trust", "--username=owner", "--encoding=UTF8", "--locale=C.UTF-8"]
        if log_disk is not None:
            arguments.append(f"--waldir={log_disk / 'wal'}")
        self._make("initdb", "--no-sync", *arguments)
        self.start()

    def copy(self, source: Server) -> None:
        """Forget all that it has, and start as a standby of `source`, known to it as ``standby``."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._make(
            "pg_basebackup", "--no-sync", "--checkpoint=fast", f"--host={source.folder}", "--username=owner"
        )
        self._follow(source.folder)
        (self.data / "standby.signal").touch()
        self.start()

    def _follow(self, folder: Path) -> None:
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = 'host={folder} user=owner application_name=standby'\n")

    def _make(self, program: str, *arguments: str) -> None:
        command = [str(_PROGRAMS / program), *arguments, "-D", str(self.data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._user)

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        settings = [
            f"-cunix_socket_directories={self.folder}",
            "-clisten_addresses=",
            "-cshared_buffers=16MB",
        ]
        settings += [f"-c{option}" for option in (*self._options, *options)]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                # It ends when this process does, however that ends.
                [
                    "setpriv",
                    "--pdeathsig",
                    "QUIT",
                    *self._clock,
                    _PROGRAMS / "postgres",
                    "-D",
                    self.data,
                    *settings,
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._user,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self.ask("SELECT 1")
                return
            assert time.monotonic() < deadline and self._process.poll() is None, self._log()
            time.sleep(0.02)

    def kill(self) -> None:
        """``kill -9`` all its processes: they say nothing to anybody, and write nothing any more."""
        assert self._process is not None
        # What is stopped makes no more children.
        self._process.send_signal(signal.SIGSTOP)
        for process in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.kill()
        self._process.wait(_PATIENCE_SECONDS)

    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """Let all its processes stand still: connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `stop`."""
        self._signal(signal.SIGCONT)

    def promote(self) -> None:
        """Make a primary of a standby."""
        assert self.ask("SELECT pg_promote()") == [(True,)]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        for process in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def url(self, schema_name: str = "public") -> str:
        """What `Database` and libpq know it by."""
        return f"host={self.folder} user=owner dbname=postgres options=-csearch_path={schema_name}"

    def ask(self, sql: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of a statement, which is committed."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> str:
        """The URL of a place without tables that nobody else uses."""
        name = f"test_{next(_NUMBERS)}"
        self.ask(f"CREATE SCHEMA {name}")
        return self.url(name)

    def migrated(self) -> str:
        """The same, with our tables in it."""
        url = self.empty()
        schema.migrate(url)
        return url

    def remove(self) -> None:
        """Stop it and delete all that it kept."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


def wait_until_noticed(database: Database) -> None:
    """Wait until `database` has noticed that its server is there again."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with contextlib.suppress(DatabaseUnavailable):
            database.repeat(write_something)
            database.read("SELECT true")
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


@cache
def shared() -> Server:
    """The server of all tests in this process that leave it running."""
    return Server()

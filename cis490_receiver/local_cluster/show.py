"""Start all parts, say what runs where, look after them, and stop them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cis490_receiver.errors import ConfigError, StorageFailed
from cis490_receiver.local_cluster.part import Part
from cis490_receiver.local_cluster.postgres import Pair
from cis490_receiver.local_cluster.programs import Programs
from cis490_receiver.local_cluster.store import BUCKET, PREFIX, Store

RECEIVERS: Final = 3
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_HAPROXY: Final = "haproxy.cfg"

Say = Callable[[str], None]


class LocalCluster:
    """A cluster that keeps what it keeps in `folder`, HAProxy at `port`, and the other parts at the ports behind it."""

    def __init__(self, folder: Path, port: int, haproxy_file: Path, say: Say) -> None:
        """`haproxy_file` is its configuration. `say` is told what happens.

        Raises:
            ConfigError: a program is missing.
        """
        programs = Programs.find()
        self.folder = folder
        self.port = port
        self._say = say
        # In our own folder a socket's path may be too long, and PostgreSQL's user not get in.
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        self.pair = Pair(programs.postgres, _databases() / f"cis490-{name}", folder)
        self.store = Store(programs.weed, folder / "store", folder, port + RECEIVERS + 1)
        self.receivers = [self._receiver(number) for number in range(1, RECEIVERS + 1)]
        environment = {"CIS490_LISTEN": f"127.0.0.1:{port}"}
        for number in range(1, RECEIVERS + 1):
            environment[f"CIS490_RECEIVER_{number}"] = f"127.0.0.1:{port + number}"
        self.haproxy = Part(
            "haproxy", folder, [programs.haproxy, "-f", haproxy_file], environment=environment
        )

    def _receiver(self, number: int) -> Part:
        settings = {
            **self._shared(),
            "data_dir": str(self.folder / f"receiver-{number}"),
            "bind": f"127.0.0.1:{self.port + number}",
            "workers": "1",
        }
        environment = {f"CIS490_{name.upper()}": value for name, value in settings.items()}
        return Part(
            f"receiver-{number}",
            self.folder,
            [sys.executable, "-m", "cis490_receiver", "serve"],
            environment=environment,
        )

    def _shared(self) -> dict[str, str]:
        return {
            "database_url": self.pair.url,
            "objects_url": f"s3://{BUCKET}/{PREFIX}",
            "objects_endpoint": self.store.url,
            "objects_credentials_file": str(self.store.credentials),
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of it, started in order, and stopped at the end.

        Raises:
            ConfigError, StorageFailed: a part cannot be started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._see_that_ports_are_free()
        try:
            self._say("starting PostgreSQL, a primary and a standby")
            self.pair.start()
            self._say("starting SeaweedFS")
            self.store.start()
            self._say("making the tables")
            self._migrate()
            self._say(f"starting {RECEIVERS} receivers and HAProxy")
            for part in (*self.receivers, self.haproxy):
                part.start()
            self._wait_until_ready()
            yield
        finally:
            for part in (self.haproxy, *self.receivers):
                part.ask_to_stop()
            for part in (self.haproxy, *self.receivers):
                part.stop()
            self.store.part.stop()
            self.pair.stop()

    def look_after(self) -> None:
        """For ever: promote the standby when the primary dies, and start again what would be lacked; a receiver is not.

        Raises:
            StorageFailed: a part does not start again.
        """
        gone: set[str] = set()
        while True:
            time.sleep(_POLL_SECONDS)
            if not self.pair.primary.is_running():
                self._fail_over()
            if not self.pair.standby.is_running():
                self._say("the standby is gone: commits wait until it is back, and it is started again")
                self.pair.start_standby()
            if not self.store.part.is_running():
                self._say("the store is gone: it is started again")
                self.store.start()
            if not self.haproxy.is_running():
                self._say("haproxy is gone: it is started again")
                self.haproxy.start()
            for part in self.receivers:
                if not part.is_running() and part.name not in gone:
                    gone.add(part.name)
                    self._say(f"{part.name} is gone: HAProxy goes on with the others")

    def _fail_over(self) -> None:
        began = time.monotonic()
        self._say("the primary is gone: the standby is promoted, and a new one made of the old primary")
        self.pair.fail_over()
        self._say(f"commits are taken again, after {time.monotonic() - began:.1f} s")

    def table(self) -> list[tuple[str, str, str]]:
        """Of each part its name, its process, and where it is."""
        here = "127.0.0.1"
        receivers = [
            (part.name, part, f"http://{here}:{self.port + place}")
            for place, part in enumerate(self.receivers, 1)
        ]
        rows = [
            ("haproxy", self.haproxy, f"http://{here}:{self.port}"),
            *receivers,
            ("primary", self.pair.primary, f"PostgreSQL in {self.pair.folder_of_primary}"),
            ("standby", self.pair.standby, f"PostgreSQL in {self.pair.folder_of_standby}"),
            ("store", self.store.part, f"SeaweedFS at {self.store.url}"),
        ]
        return [(name, str(part.pid), where) for name, part, where in rows]

    def _see_that_ports_are_free(self) -> None:
        for port in range(self.port, self.port + RECEIVERS + 2):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as exc:
                    raise ConfigError(
                        f"port {port} is taken ({exc.strerror}); --cluster needs five in a row: name the first of "
                        "others with --bind 127.0.0.1:PORT"
                    ) from None

    def _migrate(self) -> None:
        settings = {**self._shared(), "database_url": self.pair.owner_url}
        environment = {f"CIS490_{name.upper()}": value for name, value in settings.items()}
        part = Part(
            "migrate-schema",
            self.folder,
            [sys.executable, "-m", "cis490_receiver", "migrate-schema", "--grant", "receiver"],
            environment=environment,
        )
        part.start()
        while part.is_running():
            time.sleep(_POLL_SECONDS)
        if not part.log.read_text().rstrip().splitlines()[-1:][0].startswith("the database has schema"):
            raise StorageFailed(f"the tables cannot be made: {part.last_lines()}")
        part.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        waiting = [*range(self.port, self.port + RECEIVERS + 1)]
        while waiting:
            waiting = [port for port in waiting if not _is_ready(port)]
            for part in (*self.receivers, self.haproxy):
                if not part.is_running() or time.monotonic() > deadline:
                    raise StorageFailed(f"{part.name} does not start: {part.last_lines()}")
            time.sleep(_POLL_SECONDS)


def _databases() -> Path:
    """A folder that outlives a reboot (file-hierarchy(7)), and whose path is short."""
    lasting = Path("/var/tmp")  # noqa: S108 - who owns it is looked at
    return lasting if os.access(lasting, os.W_OK) else Path(tempfile.gettempdir())


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

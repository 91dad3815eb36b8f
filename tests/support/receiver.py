"""The real receiver: gunicorn with the real configuration file, in processes of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import description
from tests.support.archives import Archive

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TOKEN = "a-token-for-tests"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
START_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def clean_environment(**settings: object) -> dict[str, str]:
    """This process's environment with no configuration of the receiver's but `settings`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CIS490_")}
    given = {f"CIS490_{name.upper()}": str(value) for name, value in settings.items()}
    return inherited | given


class Receiver:
    """A receiver on a free port of the loopback interface, or on a unix socket."""

    def __init__(self, data_dir: Path, log: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.log = log
        defaults: dict[str, object] = {
            "data_dir": data_dir,
            "bind": "127.0.0.1:0",
            "bearer_token": TOKEN,
            "disk_reserve_bytes": 0,
            "workers": 2,
            "graceful_seconds": 20,
        }
        self.settings = defaults | settings
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, *wrapper: str) -> None:
        """Start gunicorn (under the command `wrapper`, when given) and wait until it answers."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, *self.command()],
                env=clean_environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                start_new_session=True,
            )
        self._wait_until_up(offset)

    @staticmethod
    def command() -> list[str]:
        """The documented way to start it, with the interpreter that runs the tests."""
        config = str(ROOT / "etc" / "gunicorn.conf.py")
        return [sys.executable, "-m", "gunicorn", "-c", config, "cis490_receiver:create_app()"]

    def _wait_until_up(self, offset: int) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = self.log.read_text(errors="replace")[offset:]
            if self.process.poll() is not None:
                raise RuntimeError(f"the receiver did not start:\n{text}")
            if found := re.search(r"Listening at: http://[\d.]+:(\d+)", text):
                self.port = int(found[1])
            booted = text.count("Booting worker") >= int(str(self.settings["workers"]))
            if booted and (self.port or "Listening at: unix" in text):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self.request("GET", "/v1/health").status == 200:
                        return
            time.sleep(0.02)
        raise RuntimeError(f"the receiver did not answer:\n{self.log.read_text(errors='replace')}")

    def connect(self, timeout: float = 30) -> http.client.HTTPConnection:
        """A new connection."""
        bind = str(self.settings["bind"])
        if not bind.startswith("unix:"):
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(bind.removeprefix("unix:"))
        return connection

    def raw(self, timeout: float = 30) -> socket.socket:
        """A bare socket to it."""
        connection = self.connect(timeout)
        if connection.sock is None:
            connection.connect()
        return connection.sock

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        timeout: float = 30,
        **options: Any,
    ) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(self.connect(timeout)) as connection:
            connection.request(method, path, body, headers or {}, **options)
            answer = read_answer(connection)
        description.check(method, path, answer.status, answer.headers["Content-Type"], answer.body)
        return answer

    def put(
        self,
        host: str,
        episode: str,
        archive: Archive,
        *,
        timeout: float = 30,
        **headers: str,
    ) -> Answer:
        """Ship `archive`; `headers` are given with underscores for dashes."""
        return self.request(
            "PUT",
            f"/v1/episodes/{host}/{episode}.tar.zst",
            archive.data,
            put_headers(archive, **headers),
            timeout=timeout,
        )

    def kill(self) -> None:
        """kill -9 for master and workers at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.port = 0

    def stop(self) -> int:
        """SIGTERM, as systemd does; gives the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.port = 0
        return self.process.wait(timeout=60)

    def end(self) -> None:
        """Make sure that nothing of it goes on."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def index(self) -> list[dict[str, Any]]:
        """Every line of index.jsonl."""
        path = self.data_dir / "index.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stored(self) -> dict[tuple[str, str], bytes]:
        """Every file under episodes/, by host and file name."""
        return {
            (path.parent.name, path.name): path.read_bytes()
            for path in (self.data_dir / "episodes").glob("*/*")
        }

    def incoming(self) -> list[str]:
        return sorted(path.name for path in (self.data_dir / "incoming").iterdir())

    def worker_pids(self) -> list[int]:
        """The worker processes."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


def put_headers(archive: Archive, **headers: str) -> dict[str, str]:
    """The headers of a good PUT of `archive`, and `headers` beside or instead."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return AUTH | {"X-Content-SHA256": archive.sha256} | given


def read_answer(connection: http.client.HTTPConnection) -> Answer:
    """The response on `connection`, read to its end."""
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def running(folder: Path, **settings: object) -> Iterator[Receiver]:
    """A receiver whose data and log are under `folder`, for the length of a block."""
    receiver = Receiver(folder / "data", folder / "receiver.log", **settings)
    try:
        receiver.start()
        yield receiver
    finally:
        receiver.end()

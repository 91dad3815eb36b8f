"""The receiver and its peers as processes, each with data in a folder of its own."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import Meter

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-for-the-benchmark"
WORKERS = 2
OURS, ASYNC, NGINX, BARE = "ours", "async", "nginx", "bare"
PEERS = (OURS, ASYNC, NGINX)
_START_SECONDS = 60


class NotInstalled(Exception):
    """A program that a peer is made of is missing."""


@dataclass(slots=True)
class Server:
    """One of them, from `start` to `stop`."""

    name: str
    folder: Path
    workers: int = WORKERS
    #: What a receiver is configured with beside where it is.
    settings: Mapping[str, object] = field(default_factory=dict)
    #: What its environment has more.
    more_environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    started_seconds: float = 0.0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it, wait for its first answer, and note the seconds that took.

        Raises:
            NotInstalled, RuntimeError: it cannot be started.
        """
        for folder in (self.data, self.data / "incoming", self.data / "episodes"):
            folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        command, environ = _COMMANDS[self.name](self)
        log = self.folder / "log"
        started = time.perf_counter()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command,
                env={**environ, **self.more_environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=ROOT,
                start_new_session=True,
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() > started + _START_SECONDS:
                self.stop()
                raise RuntimeError(f"{self.name} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.002)
        self.started_seconds = time.perf_counter() - started

    def meter(self) -> Meter:
        """Measure its processes from now on."""
        assert self._process is not None
        return Meter(self._process.pid)

    def forget(self) -> None:
        """Delete the stored bytes and let the disk come to rest."""
        for host in (self.data / "episodes").iterdir():
            for episode in host.iterdir():
                episode.unlink()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing on its file system is unwritten (sync(1))."""
        subprocess.run(["sync", "--file-system", self.folder], check=True)

    def stop(self) -> None:
        """End it and its children."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/v1/health", headers={"Connection": "close"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def environment(**settings: object) -> dict[str, str]:
    """The caller's environment with no configuration of the receiver's but `settings`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CIS490_")}
    return inherited | {f"CIS490_{name.upper()}": str(value) for name, value in settings.items()}


def receiver_environment(data: Path, **settings: object) -> dict[str, str]:
    """The receiver's configuration here: its defaults, but for where, and for the reserve."""
    return environment(data_dir=data, bearer_token=TOKEN, disk_reserve_bytes=0, syslog_address="", **settings)


def nginx_path() -> str:
    """The program.

    Raises:
        NotInstalled: there is none.
    """
    found = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        raise NotInstalled("needs nginx: apt-get install nginx-light")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_Started = tuple[list[str], dict[str, str]]


def _ours(server: Server, application: str = "cis490_receiver:create_app()") -> _Started:
    config = str(ROOT / "etc" / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "-c", config, application]
    settings = dict(server.settings) | {
        "bind": f"127.0.0.1:{server.port}",
        "workers": server.workers,
        "graceful_seconds": 5,
    }
    return command, receiver_environment(server.data, **settings)


def _bare(server: Server) -> _Started:
    return _ours(server, "benchmarks.peers.bare:application")


def _async(server: Server) -> _Started:
    command = [sys.executable, "-m", "uvicorn", "benchmarks.peers.async_intake:app", "--no-access-log"]
    command += ["--host", "127.0.0.1", "--port", str(server.port), "--workers", str(server.workers)]
    return command, environment() | {"BENCH_DATA": str(server.data), "BENCH_TOKEN": TOKEN}


def _nginx(server: Server) -> _Started:
    template = string.Template((ROOT / "benchmarks" / "peers" / "nginx.conf").read_text())
    config = server.folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(template.substitute(folder=server.folder, port=server.port, token=TOKEN, user=user))
    return [nginx_path(), "-c", str(config), "-p", str(server.folder), "-e", "stderr"], environment()


_COMMANDS = {OURS: _ours, ASYNC: _async, NGINX: _nginx, BARE: _bare}

"""Object stores as processes of the tests, what is known of their objects, and a proxy that spoils what passes."""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.storage.base.placements import Placement
from cis490_receiver.storage.object_client import ObjectClient

BUCKET = "episodes"
_OPTIONS = {"access_key_id": "EPISODES", "secret_access_key": "episodes-secret", "region": "us-east-1"}
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A running object store: its port, and what there is to be seen of uploads in parts that did not end."""

    port: int
    uploads_url: str | None = None

    def options(self, port: int | None = None) -> dict[str, str]:
        """What a client has to know to come to it, or to what stands before it at `port`."""
        return {**_OPTIONS, "endpoint": f"http://127.0.0.1:{port or self.port}"}

    def unfinished_uploads(self) -> int:
        """How many uploads in parts have neither been completed nor aborted."""
        if self.uploads_url is None:
            return 0
        request = urllib.request.Request(self.uploads_url, headers={"Accept": "application/json"})
        with (
            contextlib.suppress(urllib.error.HTTPError),
            urllib.request.urlopen(request, timeout=10) as answer,
        ):
            return len(json.load(answer)["Entries"] or [])
        return 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, below those that connections are given."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed beside {sys.executable}"
    return found


class Process:
    """An object store as a process that can be killed and started again on what it kept."""

    def __init__(self, command: Sequence[str], folder: Path, server: Server) -> None:
        self.server = server
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes objects."""
        import obstore
        from obstore.store import S3Store

        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)
        deadline = time.monotonic() + _START_SECONDS
        probe = S3Store(
            BUCKET,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
            **self.server.options(),  # type: ignore[arg-type]
        )
        while True:
            try:
                obstore.put(probe, "started", b"started")
                return
            except Exception:
                assert self._process.poll() is None and time.monotonic() < deadline, self._log()
                time.sleep(0.1)

    def kill(self) -> None:
        """``kill -9`` it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _log(self) -> str:
        return (self._folder / "log").read_text()


@contextlib.contextmanager
def _running(process: Process) -> Iterator[Server]:
    try:
        process.start()
        yield process.server
    finally:
        # What it keeps goes with the test.
        process.kill()


def seaweedfs(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """SeaweedFS, which honours what S3 promises."""
    return _running(seaweedfs_process(folder))


def seaweedfs_process(folder: Path) -> Process:
    """The same, not started yet."""
    (folder / "data").mkdir(parents=True)
    credentials = [{"accessKey": "EPISODES", "secretKey": "episodes-secret"}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    s3, master, volume, filer, *grpc = free_ports(8)
    command = [_program("weed"), "server", "-dir", "data", "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
    command += ["-s3", "-s3.config", "identities.json", "-s3.port", str(s3)]
    # The first process of a machine would have their ports.
    command += ["-s3.port.iceberg", "0", "-s3.port.lance", "0"]
    command += ["-master.port", str(master), "-volume.port", str(volume), "-filer.port", str(filer)]
    for name, port in zip(("s3", "master", "volume", "filer"), grpc, strict=True):
        command.append(f"-{name}.port.grpc={port}")
    # One that starts again looks for others for so long before it leads itself.
    command += ["-master.electionTimeout", "1s", "-master.heartbeatInterval", "100ms"]
    command += ["-master.volumeSizeLimitMB", "64", "-master.telemetry=false", "-volume.max", "100"]
    uploads_url = f"http://127.0.0.1:{filer}/buckets/{BUCKET}/.uploads/?limit=100"
    return Process(command, folder, Server(s3, uploads_url))


def rclone(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """rclone before a folder: it honours no condition and no checksum."""
    (folder / "data" / BUCKET).mkdir(parents=True)
    (port,) = free_ports(1)
    command = [_program("rclone"), "serve", "s3", "data", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", "EPISODES,episodes-secret", "--vfs-cache-mode", "off", "--config", "/dev/null"]
    return _running(Process(command, folder, Server(port)))


_KINDS: Final = {"seaweedfs": seaweedfs, "rclone": rclone}


@cache
def shared(kind: str) -> Server:
    """The store of this kind, for all tests in this process that leave it running."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"cis490-{kind}-"))
    return stack.enter_context(_KINDS[kind](Path(folder) / "server"))


def names(client: ObjectClient) -> list[str]:
    """Every object below the prefix, whatever it is."""
    import obstore

    return [found["path"] for chunk in obstore.list(client.store, client.config.prefix) for found in chunk]


@dataclass
class KnownPlacements:
    """`Placements` in memory, with the clock in `at_ns`, and the part of the index that makes an episode."""

    at_ns: int = 0
    notes: dict[str, tuple[EpisodeKey, int]] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    episodes: dict[EpisodeKey, Placement] = field(default_factory=dict)
    aside: set[str] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)

    def append(self, key: EpisodeKey, placement: Placement) -> bool:
        """What `EpisodeIndex.append` does in one step: False when `key` has a record, an error when the upload's
        note is gone."""
        with self._lock:
            if key in self.episodes:
                return False
            if placement.object_key in self.dead:
                raise KeyError(placement.object_key)
            del self.notes[placement.object_key]
            self.episodes[key] = placement
            return True

    def register(self, key: EpisodeKey, object_key: str) -> None:
        with self._lock:
            assert object_key not in self.notes
            self.notes[object_key] = (key, self.at_ns)

    def now_ns(self) -> int:
        return self.at_ns

    def give_up(self, object_key: str) -> bool:
        with self._lock:
            if object_key in self.notes:
                self.dead.setdefault(object_key, self.at_ns)
                return True
            return object_key not in {found.object_key for found in self.episodes.values()} | self.aside

    def find(self, key: EpisodeKey) -> Placement | None:
        return self.episodes.get(key)

    def confirm(self, key: EpisodeKey) -> Placement | None:
        return self.episodes.get(key)

    def set_aside(self, key: EpisodeKey, object_key: str) -> bool:
        with self._lock:
            found = self.episodes.get(key)
            if found is None or found.object_key != object_key:
                return False
            del self.episodes[key]
            self.aside.add(object_key)
            return True

    def give_up_old(self, before_ns: int) -> Iterator[str]:
        with self._lock:
            found = [name for name, (_, noted_ns) in self.notes.items() if noted_ns < before_ns]
            found = [name for name in found if name not in self.dead]
            self.dead |= dict.fromkeys(found, self.at_ns)
            return iter(found)

    def given_up(self, before_ns: int) -> Iterator[str]:
        with self._lock:
            return iter([name for name, at_ns in self.dead.items() if at_ns < before_ns])

    def forget(self, object_keys: Sequence[str]) -> None:
        with self._lock:
            for name in object_keys:
                if self.dead.pop(name, None) is not None:
                    self.notes.pop(name, None)

    def unknown(self, object_keys: Sequence[str]) -> set[str]:
        with self._lock:
            known = {found.object_key for found in self.episodes.values()} | self.aside | set(self.notes)
            return set(object_keys) - known

    def all_keys(self) -> Iterator[EpisodeKey]:
        return iter(list(self.episodes))


@dataclass
class KnownIndex:
    """The part of an index that decides what is an episode, over `KnownPlacements`."""

    placements: KnownPlacements
    episodes: dict[EpisodeKey, Episode] = field(default_factory=dict)

    def append(self, episode: Episode, placed: str) -> bool:
        placement = Placement(placed, episode.size_bytes, episode.sha256, episode.received_at_ns)
        appended = self.placements.append(episode.key, placement)
        if appended:
            self.episodes[episode.key] = episode
        return appended

    def find(self, key: EpisodeKey) -> Episode | None:
        return self.episodes.get(key)

    def make_durable(self) -> None:
        pass


class Proxy:
    """Stands before a server, and passes what comes until it is told to spoil it.

    Attributes:
        pass_bytes: how many bytes of the requests it passes from now on before it spoils them; None is all.
        spoil: ``hang``, ``cut`` or ``refuse`` (an answer of 500).
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.pass_bytes: int | None = None
        self.spoil = "cut"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError):
            while data := client.recv(65536):
                with self._lock:
                    if self.pass_bytes is not None:
                        self.pass_bytes -= len(data)
                    spoilt = self.pass_bytes is not None and self.pass_bytes < 0
                if not spoilt:
                    server.sendall(data)
                    continue
                if self.spoil == "hang":
                    self._stopped.wait(60)
                if self.spoil == "refuse":
                    client.sendall(
                        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                for one in (client, server):
                    one.shutdown(socket.SHUT_RDWR)
                return
            server.shutdown(socket.SHUT_RDWR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

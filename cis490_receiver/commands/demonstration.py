"""``cis490-receiver serve --demo``: a receiver that is shown at work, and stopped."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from typing import Final
from urllib.parse import urlsplit

import click

from cis490_receiver import protocol
from cis490_receiver.backends import use_backends
from cis490_receiver.commandline.failures import EXIT_FOUND, Failure
from cis490_receiver.config import Settings
from cis490_receiver.models import EpisodeKey

_START_SECONDS: Final = 30


def demonstrate(settings: Settings) -> int:
    """Start a receiver, ship an episode to it twice, show what it stored, and stop it; gives the exit status.

    Raises:
        Failure: it did not start.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "cis490_receiver", "serve"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _wait_until_up(settings, server)
        return _ship(settings)
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _wait_until_up(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection = _connect(settings)
            connection.request("GET", "/v1/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise Failure(
        "the receiver did not start; its last lines are above", "not-started", server.poll() or EXIT_FOUND
    )


def _connect(settings: Settings) -> http.client.HTTPConnection:
    if settings.bind.startswith("unix:"):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(settings.bind.removeprefix("unix:"))
        return connection
    address = urlsplit(f"http://{settings.bind}")
    return http.client.HTTPConnection(address.hostname or "localhost", address.port, timeout=30)


def _ship(settings: Settings) -> int:
    episode_id = time.strftime("demo-%Y%m%dT%H%M%S", time.gmtime()) + f"-{os.getpid()}"
    body = _episode()
    headers = {
        protocol.HEADER_SHA256: hashlib.sha256(body).hexdigest(),
        protocol.HEADER_SCHEMA_VERSION: str(protocol.SCHEMA_VERSION),
        protocol.HEADER_EPISODE_TYPE: "control",
        protocol.HEADER_BENIGN_PROFILE: "idle",
    }
    if settings.bearer_token:
        headers["Authorization"] = f"Bearer {settings.bearer_token}"
    path = protocol.episode_path("demo-host", episode_id)
    statuses = []
    for attempt in ("ships a new episode", "ships it again"):
        connection = _connect(settings)
        connection.request("PUT", path, body, headers)
        answer = connection.getresponse()
        statuses.append(answer.status)
        click.echo(f"\ndemo-host {attempt} ({len(body)} bytes):\n  PUT {path}")
        click.echo(f"  {answer.status} {answer.reason}  {answer.read().decode().strip()}")
    if statuses != [201, 200]:
        return EXIT_FOUND
    backends, key = use_backends(settings), EpisodeKey("demo-host", episode_id)
    episode, stored = backends.index.find(key), backends.store.open(key)
    if episode is None or stored is None:
        return EXIT_FOUND
    click.echo(f"\nstored as\n  {backends.place.name}/episodes/{key.host_id}/{key.file_name}")
    click.echo(f"and in index.jsonl\n  {episode.to_line().decode('ascii')}")
    with stored:
        return 0 if stored.stream.read() == body else EXIT_FOUND


def _episode() -> bytes:
    import zstandard

    meta = {
        "schema_version": protocol.SCHEMA_VERSION,
        "episode_type": "control",
        "benign_profile": "idle",
    }
    files = {"meta.json": json.dumps(meta, indent=1).encode(), "telemetry.jsonl": b'{"t": 0}\n' * 1000}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return zstandard.ZstdCompressor(write_checksum=True).compress(packed.getvalue())

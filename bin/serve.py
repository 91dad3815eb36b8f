"""What bin/serve runs inside the virtual environment."""

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
from pathlib import Path
from urllib.parse import urlsplit

import zstandard

from cis490_receiver import protocol
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30


def main() -> int:
    """Start gunicorn, say where, and wait; or demonstrate and stop."""
    try:
        settings = load()
    except ConfigError as exc:
        print(f"serve: {exc.message}", file=sys.stderr)
        return 2
    if not settings.bind.startswith("unix:") and _is_taken(settings.bind):
        print(
            f"serve: something listens on {settings.bind} already; stop it, or choose another address: "
            "CIS490_BIND=127.0.0.1:8491 bin/serve",
            file=sys.stderr,
        )
        return 1
    command = [
        str(Path(sys.executable).with_name("gunicorn")),
        "-c",
        str(ROOT / "etc" / "gunicorn.conf.py"),
        "cis490_receiver:create_app()",
    ]
    demo = "--demo" in sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        if not _wait_until_up(settings, server):
            print("serve: the receiver did not start; its last lines are above", file=sys.stderr)
            return server.poll() or 1
        if demo:
            return _demonstrate(settings)
        print(_welcome(settings), flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _is_taken(bind: str) -> bool:
    host, _, port = bind.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
            return True
    except OSError:
        return False


def _connect(settings: Settings) -> http.client.HTTPConnection:
    if settings.bind.startswith("unix:"):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(settings.bind.removeprefix("unix:"))
        return connection
    address = urlsplit(f"http://{settings.bind}")
    return http.client.HTTPConnection(address.hostname or "localhost", address.port, timeout=30)


def _wait_until_up(settings: Settings, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection = _connect(settings)
            connection.request("GET", "/v1/health")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(0.05)
    return False


def _auth(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.bearer_token}"} if settings.bearer_token else {}


def _welcome(settings: Settings) -> str:
    socket_option = ""
    base = f"http://{settings.bind}"
    if settings.bind.startswith("unix:"):
        socket_option = f"--unix-socket {settings.bind.removeprefix('unix:')} "
        base = "http://localhost"
    auth = '-H "Authorization: Bearer $TOKEN" ' if settings.bearer_token else ""
    return f"""
cis490_receiver is up.

  listens on   {base if not socket_option else settings.bind}
  stores in    {settings.data_dir}
  token        {"set" if settings.bearer_token else "none (only this machine can reach it)"}
  gate         {"on" if settings.gate_enabled else "off"}

Ship an episode (any .tar.zst; docs/episodes.md says which headers make the index say more) from another terminal:

  f=episode.tar.zst
  curl {socket_option}{auth}-H "X-Content-SHA256: $(sha256sum "$f" | cut -d' ' -f1)" \\
       -T "$f" {base}/v1/episodes/my-host/$(basename "$f")

Stop with Ctrl-C.
"""


def _demo_episode() -> bytes:
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


def _demonstrate(settings: Settings) -> int:
    episode_id = time.strftime("demo-%Y%m%dT%H%M%S", time.gmtime()) + f"-{os.getpid()}"
    body = _demo_episode()
    headers = {
        **_auth(settings),
        protocol.HEADER_SHA256: hashlib.sha256(body).hexdigest(),
        protocol.HEADER_SCHEMA_VERSION: str(protocol.SCHEMA_VERSION),
        protocol.HEADER_EPISODE_TYPE: "control",
        protocol.HEADER_BENIGN_PROFILE: "idle",
    }
    path = protocol.episode_path("demo-host", episode_id)
    statuses = []
    for attempt in ("ships a new episode", "ships it again"):
        connection = _connect(settings)
        connection.request("PUT", path, body, headers)
        answer = connection.getresponse()
        statuses.append(answer.status)
        print(f"\ndemo-host {attempt} ({len(body)} bytes):\n  PUT {path}", flush=True)
        print(f"  {answer.status} {answer.reason}  {answer.read().decode().strip()}", flush=True)
    stored = settings.data_dir / "episodes" / "demo-host" / f"{episode_id}{protocol.EPISODE_SUFFIX}"
    line = next(
        line
        for line in (settings.data_dir / "index.jsonl").read_text().splitlines()
        if json.loads(line)["episode_id"] == episode_id
    )
    print(f"\nstored as\n  {stored}\nand in index.jsonl\n  {line}\n", flush=True)
    return 0 if statuses == [201, 200] and stored.read_bytes() == body else 1


if __name__ == "__main__":
    sys.exit(main())

"""SeaweedFS as the object store, with a bucket."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from pathlib import Path
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.local_cluster.part import Part
from cis490_receiver.storage.object_client import ObjectsConfig
from cis490_receiver.storage.signed_requests import SignedRequests

BUCKET: Final = "episodes"
PREFIX: Final = "lab"
_KEY_ID: Final = "receivers"
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2


class Store:
    """The server, which keeps what it has in `folder`."""

    def __init__(self, weed: str, folder: Path, cluster: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.credentials = folder / "credentials"
        self._secret_file = folder / "secret"
        self._identities = folder / "identities.json"
        master, volume, filer, *grpc = _free_ports(7)
        command = [weed, "server", "-dir", str(folder / "data"), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
        command += ["-s3", "-s3.config", str(self._identities), "-s3.port", str(port)]
        # These would listen on ports of their own.
        command += ["-s3.port.iceberg", "0", "-s3.port.lance", "0"]
        command += ["-master.port", str(master), "-volume.port", str(volume), "-filer.port", str(filer)]
        for name, number in zip(("s3", "master", "volume", "filer"), grpc, strict=True):
            command.append(f"-{name}.port.grpc={number}")
        command += ["-master.volumeSizeLimitMB", "256", "-master.telemetry=false", "-volume.max", "100"]
        # It takes a quarter of a minute to end in order, and has written what it acknowledged.
        self.part = Part("store", cluster, command, stop_seconds=1)

    def start(self) -> None:
        """Start it, and make the bucket where there is none.

        Raises:
            StorageFailed: it does not start; the message has what it says.
        """
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        secret = self._secret()
        identity = {
            "name": _KEY_ID,
            "credentials": [{"accessKey": _KEY_ID, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        self._identities.write_text(json.dumps({"identities": [identity]}))
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {_KEY_ID}\naws_secret_access_key = {secret}\n"
        )
        self.part.start()
        options = {"endpoint": self.url, "access_key_id": _KEY_ID, "secret_access_key": secret}
        requests = SignedRequests(ObjectsConfig(BUCKET, "", options), seconds=5)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(StorageFailed):
                if requests.send("PUT", "started").is_good:
                    return
            if time.monotonic() > deadline or not self.part.is_running():
                raise StorageFailed(f"SeaweedFS does not start: {self.part.last_lines()}")
            time.sleep(_POLL_SECONDS)

    def _secret(self) -> str:
        if not self._secret_file.exists():
            self._secret_file.touch(mode=0o600)
            self._secret_file.write_text(secrets.token_hex(16))
        return self._secret_file.read_text()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]

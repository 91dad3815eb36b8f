"""Receivers that share a real database and a real object store."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import objects
from tests.support.receiver import BIN, Receiver, clean_environment

RECEIVERS = 2


class Cluster:
    """Receivers that share a database and a bucket."""

    def __init__(self, folder: Path, server: objects.Server, database_url: str) -> None:
        credentials = folder / "credentials"
        options = server.options()
        credentials.write_text(
            f"[default]\naws_access_key_id = {options['access_key_id']}\n"
            f"aws_secret_access_key = {options['secret_access_key']}\n"
        )
        self.database_url = database_url
        self.settings = {
            "database_url": database_url,
            "objects_url": f"s3://{objects.BUCKET}/{folder.name}",
            "objects_endpoint": options["endpoint"],
            "objects_credentials_file": credentials,
            "workers": 1,
        }
        self.receivers = [
            Receiver(folder / f"data-{number}", folder / f"log-{number}", **self.settings)
            for number in range(RECEIVERS)
        ]

    def start(self) -> None:
        """Start all receivers."""
        for receiver in self.receivers:
            receiver.start()

    def end(self) -> None:
        """Make sure that nothing of them goes on."""
        for receiver in self.receivers:
            receiver.end()

    def run(
        self, *arguments: str, data: str = "machine", clock: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command, on a machine of its own, whose clock is apart by `clock`, as ``+5h``."""
        data_dir = self.receivers[0].data_dir.with_name(data)
        environment = clean_environment(**self.settings, data_dir=data_dir)
        command = [*(("faketime", "-f", clock) if clock else ()), str(BIN / "cis490-receiver"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

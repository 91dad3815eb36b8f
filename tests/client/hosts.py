"""Lab hosts for tests: a configuration, its files, and the programs started with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.archives import Archive
from tests.support.receiver import TOKEN, Receiver

if TYPE_CHECKING:
    from cis490_receiver.client.config import LabHost


def plain_environment() -> dict[str, str]:
    """This process's environment with nothing of the receiver's or a lab host's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CIS490_")}


class Lab:
    """A lab host in a folder: lab-host.toml, token, spool."""

    def __init__(self, folder: Path, url: str, **keys: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        #: A command under which its programs run, such as one that enters a network namespace.
        self.wrapper: tuple[str, ...] = ()
        self.token = folder / "token"
        self.token.write_text(TOKEN + "\n")
        self.token.chmod(0o600)
        self.spool = folder / "spool"
        self.spool.mkdir(exist_ok=True)
        self.keys: dict[str, Any] = {
            "receiver_url": url,
            "host_id": "lab-1",
            "token_file": self.token,
            "spool_dir": self.spool,
            "settle_seconds": 0,
            "disk_reserve_bytes": 0,
            "wireguard_interface": "none",
            "kvm_required": False,
            "orchestrator_dir": folder / "orchestrator",
            "checks_dir": folder / "checks.d",
        } | keys
        self.config = folder / "lab-host.toml"
        self.write()

    @classmethod
    def of(cls, folder: Path, receiver: Receiver, **keys: Any) -> Lab:
        """A lab host that ships to `receiver`."""
        return cls(folder, f"http://127.0.0.1:{receiver.port}", **keys)

    def write(self, **keys: Any) -> None:
        """Write lab-host.toml, with `keys` changed."""
        self.keys |= keys
        lines = []
        for key, value in self.keys.items():
            if isinstance(value, bool):
                lines.append(f"{key} = {str(value).lower()}")
            elif isinstance(value, int | list):
                lines.append(f"{key} = {value!r}")
            else:
                lines.append(f"{key} = '{value}'")
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        return plain_environment() | {"CIS490_LAB_CONFIG": str(self.config)}

    @property
    def host(self) -> LabHost:
        from cis490_receiver.client.config import load

        return load({"CIS490_LAB_CONFIG": str(self.config)})

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """The installed program `program`."""
        return [*self.wrapper, str(Path(sys.executable).with_name(program)), *map(str, arguments)]

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(program, *arguments),
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with (self.folder / "program.log").open("ab") as log:
            return subprocess.Popen(
                self.command(program, *arguments),
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return (self.folder / "program.log").read_text(errors="replace")

    def names(self, folder: str = ".") -> set[str]:
        """The visible files in a folder of the spool."""
        where = self.spool / folder
        return (
            {path.name for path in where.iterdir() if path.is_file() and path.name[0] != "."}
            if where.exists()
            else set()
        )

    def record(self, name: str, archive: Archive) -> Path:
        """What a recorder does: write beside, rename when done."""
        final = self.spool / f"{name}.tar.zst"
        partial = final.with_name(final.name + ".partial")
        partial.write_bytes(archive.data)
        partial.rename(final)
        return final

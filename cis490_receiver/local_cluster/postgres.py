"""A primary of PostgreSQL and its synchronous standby, which takes its place when it dies."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from cis490_receiver.errors import ConfigError, StorageFailed
from cis490_receiver.local_cluster.part import Part

#: PostgreSQL does not run as root.
_USER: Final = "postgres"
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
#: Whatever dies, what was acknowledged is on two disks: without a standby commits wait.
_NAMES: Final = "ANY 1 (standby)"


class Pair:
    """Two servers, ``a`` and ``b``, one of which is the primary. Each listens on a socket in a folder of its own."""

    def __init__(self, programs: Path, folder: Path, cluster: Path) -> None:
        """`programs`: PostgreSQL's. `folder`: where both keep their data; its path must be short, for the sockets.
        `cluster`: for pids and logs."""
        self.folder = folder
        self._programs = programs
        self._cluster = cluster
        self._user = _USER if os.geteuid() == 0 else None
        self._parts: dict[str, Part] = {}
        self._primary = "a"

    @property
    def url(self) -> str:
        """What receivers know it by, whichever is the primary."""
        return f"host={self.folder}/a,{self.folder}/b user=receiver dbname=episodes"

    @property
    def owner_url(self) -> str:
        """The same for who makes the tables."""
        return self.url.replace("user=receiver", "user=owner")

    @property
    def primary(self) -> Part:
        """The one that takes commits."""
        return self._parts[self._primary]

    @property
    def standby(self) -> Part:
        """The other one."""
        return self._parts[self._other]

    @property
    def folder_of_primary(self) -> Path:
        """Its data and its socket."""
        return self.folder / self._primary

    @property
    def folder_of_standby(self) -> Path:
        """Its data and its socket."""
        return self.folder / self._other

    @property
    def _other(self) -> str:
        return "b" if self._primary == "a" else "a"

    def start(self) -> None:
        """Start both as they were stopped, or make them.

        Raises:
            ConfigError: the folder is somebody else's.
            StorageFailed: one does not start; the message has what it says.
        """
        self._make_folder()
        known = self._note.read_text().strip() if self._note.exists() else "a"
        self._primary = known if known in ("a", "b") else "a"
        if not (self._data(self._primary) / "PG_VERSION").exists():
            arguments = ["--auth=trust", "--username=owner", "--encoding=UTF8", "--locale=C.UTF-8"]
            self._run("initdb", *arguments, "-D", str(self._data(self._primary)))
        self._start(self._primary)
        if (self._data(self._other) / "standby.signal").exists():
            self._start(self._other)
        else:
            self._copy()
        self._note.write_text(f"{self._primary}\n")
        self._note_pids()
        # A commit of a database just made waits for the standby as well.
        if not self.ask("SELECT 1 FROM pg_roles WHERE rolname = 'receiver'"):
            self.ask("CREATE ROLE receiver LOGIN")
            self.ask("GRANT pg_monitor TO receiver")
        if not self.ask("SELECT 1 FROM pg_database WHERE datname = 'episodes'"):
            self.ask("CREATE DATABASE episodes")

    def fail_over(self) -> None:
        """Promote the standby of a primary that died. That one is fenced as surely as can be: its data is deleted, and
        it comes back as a standby of the new primary."""
        self.primary.stop()
        self._primary = self._other
        self.ask("SELECT pg_promote()")
        self._note.write_text(f"{self._primary}\n")
        self._copy()
        self._note_pids()

    def start_standby(self) -> None:
        """Start a standby that died."""
        self._start(self._other)
        self._note_pids()

    def stop(self) -> None:
        """Stop both, the standby last: a primary gives it all that it has when it stops."""
        for name in (self._primary, self._other):
            if name in self._parts:
                self._parts[name].stop()
        for role in ("primary", "standby"):
            (self._cluster / "pids" / role).unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.folder / "primary"

    def _data(self, name: str) -> Path:
        return self.folder / name / "data"

    def _make_folder(self) -> None:
        user = pwd.getpwnam(self._user).pw_uid if self._user else os.geteuid()
        for folder in (self.folder, self.folder / "a", self.folder / "b"):
            folder.mkdir(mode=0o700, exist_ok=True)
            if self._user and folder.stat().st_uid == 0:
                shutil.chown(folder, self._user, self._user)
            if folder.is_symlink() or folder.stat().st_uid != user:
                raise ConfigError(f"{folder} belongs to somebody else; delete it, or name another data_dir")

    def _copy(self) -> None:
        """Make the other one anew, as a standby of the primary."""
        data = self._data(self._other)
        shutil.rmtree(data, ignore_errors=True)
        source = f"--host={self.folder / self._primary}"
        self._run("pg_basebackup", "--checkpoint=fast", source, "--username=owner", "-D", str(data))
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(
                f"primary_conninfo = 'host={self.folder / self._primary} user=owner application_name=standby'\n"
            )
        (data / "standby.signal").touch()
        self._start(self._other)

    def _note_pids(self) -> None:
        """Under the names of what they are at the moment."""
        for role, part in (("primary", self.primary), ("standby", self.standby)):
            part.pid_file.with_name(role).write_text(part.pid_file.read_text())

    def _start(self, name: str) -> None:
        options = {
            "unix_socket_directories": str(self.folder / name),
            "listen_addresses": "",
            "synchronous_standby_names": _NAMES,
            "shared_buffers": "32MB",
            "wal_keep_size": "256MB",
        }
        part = Part(
            f"postgres-{name}",
            self._cluster,
            [
                self._programs / "postgres",
                "-D",
                self._data(name),
                *(f"-c{key}={value}" for key, value in options.items()),
            ],
            user=self._user,
            # Without waiting for clients (PostgreSQL, *Shutting Down the Server*).
            stop_signal=signal.SIGINT,
        )
        part.start()
        self._parts[name] = part
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(
            [self._programs / "pg_isready", "--quiet", f"--host={self.folder / name}"], check=False
        ).returncode:
            if time.monotonic() > deadline or not part.is_running():
                raise StorageFailed(f"PostgreSQL does not start: {part.last_lines()}")
            time.sleep(_POLL_SECONDS)

    def ask(self, sql: str) -> str:
        """What the primary answers.

        Raises:
            StorageFailed: it does not.
        """
        return self._run(
            "psql",
            f"--host={self.folder / self._primary}",
            "--username=owner",
            "--dbname=postgres",
            "--no-psqlrc",
            "-Atqc",
            sql,
        ).strip()

    def _run(self, program: str, *arguments: str) -> str:
        user = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **user,  # type: ignore[call-overload]
        )
        if done.returncode:
            raise StorageFailed(f"{program} failed: {done.stderr.strip()}")
        return str(done.stdout)

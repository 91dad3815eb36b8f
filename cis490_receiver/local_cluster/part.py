"""One program that runs as a part of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_NOTHING: Final[Mapping[str, str]] = {}


class Part:
    """A process with a log, and with its pid in a file, so that people can kill it. It ends when this one does, however
    that ends.

    Attributes:
        name: what it is called; its pid is in ``pids/<name>``, its log in ``logs/<name>``.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] = _NOTHING,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 15.0,
    ) -> None:
        """`folder` is the cluster's. `user`: who runs it, where that is not this process's own. `stop_seconds`: how
        long it may take to end before it is killed."""
        self.name = name
        self.pid_file = folder / "pids" / name
        self.log = folder / "logs" / name
        self._command = command
        self._environment = {**os.environ, **environment}
        self._user: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process; None where there is none."""
        return self._process.pid if self.is_running() and self._process else None

    def start(self) -> None:
        """Start it."""
        for file in (self.pid_file, self.log):
            file.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Some may not enter ours.
                cwd="/",
                env=self._environment,
                # ^C is for who looks after all of them.
                start_new_session=True,
                **self._user,
            )
        self.pid_file.write_text(f"{self._process.pid}\n")

    def is_running(self) -> bool:
        """Whether it is."""
        return self._process is not None and self._process.poll() is None

    def ask_to_stop(self) -> None:
        """Tell it to end, without waiting for that."""
        if self._process is not None and self.is_running():
            self._process.send_signal(self._stop_signal)

    def stop(self) -> None:
        """Let it end, and see to it that it does."""
        if self._process is None:
            return
        if self.is_running():
            self.ask_to_stop()
            try:
                self._process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with contextlib.suppress(FileNotFoundError):
            self.pid_file.unlink()

    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

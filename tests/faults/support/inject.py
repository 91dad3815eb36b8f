"""strace(1), attached to a running worker for the length of one request."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: What the write path asks of the kernel.
CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,linkat,unlink,unlinkat,flock,mkdir,fstat,newfstatat,statfs,"
    "getdents64,pread64,lseek,ftruncate"
)
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")


@dataclass
class Seen:
    """What happened while strace was attached: calls as (name, rest of the line) by thread."""

    calls: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def handler(self) -> list[tuple[str, str]]:
        """The calls of the thread that did the most."""
        return max(self.calls.values(), key=len, default=[])

    def missed(self) -> bool:
        """Whether the fault met the server's own wake-up of its main loop: a connection that says nothing yet
        is handed back through a pipe. That depends on timing, and says nothing of ours."""
        calls = [rest for thread in self.calls.values() for _, rest in thread]
        return any("<pipe:" in rest and "INJECTED" in rest for rest in calls)

    def counts(self) -> Counter[str]:
        return Counter(name for name, _ in self.handler())


@contextlib.contextmanager
def attached(strace: str, pid: int, *inject: str) -> Iterator[Seen]:
    """Trace every thread of `pid`, calls of each made to fail or to kill by the expressions `inject`."""
    seen = Seen()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [
            strace,
            "-f",
            "-y",
            "-s",
            "80",
            "-e",
            f"trace={CALLS}",
            "-e",
            "signal=none",
            "-o",
            str(log),
        ]
        given = [part for expression in inject for part in ("-e", f"inject={expression}")]
        process = subprocess.Popen([*command, *given, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "attached" in line, line
        try:
            yield seen
        finally:
            _detach(process, dies=any("KILL" in expression for expression in inject))
            for line in log.read_text(errors="replace").splitlines():
                if found := _LINE.match(line):
                    seen.calls.setdefault(found[1], []).append((found[2], found[3]))


def _detach(process: subprocess.Popen[str], *, dies: bool) -> None:
    """End strace, which ends by itself with a process that dies: told to let go in that very moment, it
    would wait for ever."""
    if dies:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
            return
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

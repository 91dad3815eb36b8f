"""What a server's process and its children use, as /proc tells it (proc(5))."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """`pid` and every process below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        # A thread may end while its children are looked up; they are another thread's then.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                yield from tree(int(child))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree has used between two moments."""

    cpu_seconds: float
    written_bytes: int
    #: The sum over its processes of how far each grew above where it began.
    grown_bytes: int


class Meter:
    """Measures a tree of processes from its making on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._at_first = {one: (cpu_seconds(one), _written(one), _status(one, "VmRSS")) for one in tree(pid)}
        for one in self._at_first:
            # 5 makes the current size the peak.
            Path(f"/proc/{one}/clear_refs").write_text("5")

    def read(self) -> Usage:
        """What was used since."""
        cpu, written, grown = 0.0, 0, 0
        for one in tree(self._pid):
            first_cpu, first_written, first_rss = self._at_first.get(one, (0.0, 0, 0))
            with contextlib.suppress(FileNotFoundError):
                cpu += cpu_seconds(one) - first_cpu
                written += _written(one) - first_written
                grown += max(0, _status(one, "VmHWM") - first_rss)
        return Usage(cpu, written, grown)


def resident_bytes(pid: int) -> int:
    """What a process has in memory, what it shares with others among it."""
    return _status(pid, "VmRSS")


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _written(pid: int) -> int:
    return int(_field(Path(f"/proc/{pid}/io").read_text(), "write_bytes"))


def _status(pid: int, name: str) -> int:
    return 1024 * int(_field(Path(f"/proc/{pid}/status").read_text(), name))


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return found[1] if found else "0"

"""A disk that flushes slowly, as an SD card or a spinning disk does, and tells how often: `slow_disk.c`, compiled."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.servers import NotInstalled

DELAY_MS = 10
_SOURCE = Path(__file__).with_suffix(".c")
_COUNT_BYTES = 8


class SlowDisk:
    """What is loaded into a server whose flushes take `DELAY_MS` more than the disk does. Its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Raises NotInstalled: there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotInstalled("a slow disk needs a C compiler: sudo apt-get install gcc libc6-dev")
        folder.mkdir(parents=True, exist_ok=True)
        self._library = folder / "slow_disk.so"
        self._count = folder / "flushes"
        self._count.write_bytes(bytes(_COUNT_BYTES))
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)

    def environment(self) -> dict[str, str]:
        """What a program's environment has more to run on it."""
        return {
            "LD_PRELOAD": str(self._library),
            "SLOW_DISK_US": str(1000 * DELAY_MS),
            "SLOW_DISK_COUNT": str(self._count),
        }

    def flushes(self) -> int:
        """How many there were, of all programs on it."""
        return int.from_bytes(self._count.read_bytes(), "little")

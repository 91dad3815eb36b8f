"""What this machine can do at best, for the figures beside it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from benchmarks.bodies import pieces, timed_digest

MIB = 1 << 20


def sha256_rate(size_bytes: int) -> float:
    """MiB/s of plain hashlib over the body of `size_bytes`."""
    return size_bytes / MIB / timed_digest(size_bytes)[1]


def dd_rate(folder: Path, memory: Path, size_bytes: int, how: str) -> float:
    """MiB/s at which dd(1) writes a file of `size_bytes` to `folder` from one in `memory`, with the operand `how`."""
    source, target = memory / "dd.in", folder / "dd.out"
    try:
        with source.open("wb") as stream:
            for piece in pieces(size_bytes):
                stream.write(piece)
        subprocess.run(["sync", "--file-system", folder], check=True)
        started = time.perf_counter()
        subprocess.run(
            ["dd", f"if={source}", f"of={target}", "bs=1M", how], check=True, stderr=subprocess.DEVNULL
        )
        return size_bytes / MIB / (time.perf_counter() - started)
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def fsync_ms(folder: Path, size_bytes: int) -> float:
    """Milliseconds to write a new file of `size_bytes` and fsync(2) it."""
    path = folder / "fsync.out"
    data = bytes(next(pieces(size_bytes)))
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        started = time.perf_counter()
        os.write(fd, data)
        os.fsync(fd)
        return 1000 * (time.perf_counter() - started)
    finally:
        os.close(fd)
        path.unlink()

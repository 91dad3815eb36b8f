"""What a program did to the files below a folder, as strace(1) saw it."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,mkdir,mkdirat,link,linkat,unlink,unlinkat,rmdir,rename,renameat,renameat2,"
    "write,pwrite64,fsync,fdatasync,ftruncate,lseek"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?)(.*)$", re.DOTALL)
_FD = re.compile(r"^(AT_FDCWD|\d+)(?:<(.*?)>)?(\(deleted\))?$")
_HEX = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class Call:
    """A system call, and the lines of the log where it began and ended: a sync covers what had ended before
    it began."""

    name: str
    args: tuple[str, ...]
    result: int
    begun: int
    ended: int

    def text(self, position: int) -> bytes:
        """The string argument at `position`."""
        return unhex(self.args[position].strip('"'))

    def number(self, position: int) -> int:
        return int(self.args[position], 0)

    def fd(self, position: int) -> tuple[int, str]:
        """The descriptor at `position` (-1 for the current folder) and the path that strace knows it by."""
        found = _FD.match(self.args[position])
        assert found is not None, self
        path = os.fsdecode(unhex(found[2] or ""))
        return (-1 if found[1] == "AT_FDCWD" else int(found[1])), path

    def path(self, folder: int | None, name: int) -> str:
        """The absolute path of the string argument `name`, relative to the descriptor `folder`."""
        given = os.fsdecode(self.text(name))
        base = self.fd(folder)[1] if folder is not None else "/"
        return os.path.normpath(os.path.join(base, given))


def unhex(text: str) -> bytes:
    return bytes.fromhex("".join(_HEX.findall(text)))


def run_traced(
    command: Sequence[str],
    log: Path,
    *,
    strace: str,
    inject: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a Python program, its system calls going to `log`. `inject` are strace's own expressions."""
    given = [part for expression in inject for part in ("-e", f"inject={expression}")]
    with subprocess.Popen(
        [
            *(strace, "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-e", "signal=none"),
            *(*given, "-o", str(log), os.path.realpath(command[0]), *command[1:]),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Without its tracer a program goes on, with our pipes.
        start_new_session=True,
    ) as running:
        try:
            out, err = running.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def read_calls(log: Path) -> Iterator[Call]:
    """The calls of a log in the order of their end; one that never ended (its process was killed) is
    left out."""
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(log.read_text().splitlines()):
        found = _LINE.match(line)
        if found is None:
            continue
        thread, text = found[1], found[2]
        start = number
        if text.endswith("<unfinished ...>"):
            begun[thread] = (number, text.removesuffix("<unfinished ...>").rstrip())
            continue
        if text.startswith("<..."):
            start, head = begun.pop(thread)
            text = head + text.partition("resumed>")[2]
        call = _CALL.match(text)
        if call is not None and call[3] != "?":
            yield Call(call[1], tuple(call[2].split(", ")), _result(call[3], call[4]), start, number)


def _result(value: str, rest: str) -> int:
    if value != "-1":
        return int(value)
    return -int(getattr(errno, rest.split()[0]))

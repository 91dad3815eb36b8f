"""A program as a person sees it: on a terminal of a certain width."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

_STYLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def shown(command: list[str], *, columns: int, env: Mapping[str, str], cwd: Path) -> list[str]:
    """The lines that `command` leaves on a terminal of `columns`, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    plain = {name: value for name, value in env.items() if name != "COLUMNS"}
    with subprocess.Popen(
        command, env=plain, cwd=cwd, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        text = b""
        # Linux answers EIO when the last one has left the terminal (tty(4)).
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                text += piece
        os.close(ours)
        process.wait(timeout=60)
    return _STYLE.sub("", text.decode()).replace("\r", "").splitlines()

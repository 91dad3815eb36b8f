"""Whether the receiver can listen where it is told to, said before gunicorn says it in its own words."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

from cis490_receiver.errors import ConfigError

#: How long an address may still be taken: a receiver that was told to stop may be just about to.
PATIENCE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.2
#: sun_path less its final NUL, see unix(7).
_MAX_PATH_BYTES: Final = 107
_ELSEWHERE: Final = "in bind or CIS490_BIND"


def check_bind(bind: str) -> None:
    """See whether `bind`, as `config` lets it through, can be listened on. An address that is taken may be given
    free within a few seconds.

    Raises:
        ConfigError: it cannot; the message says why and what to do.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while reason := _hindrance(bind):
        if not reason.startswith(_TAKEN) or time.monotonic() > deadline:
            raise ConfigError(f"bind is {bind}, {reason}")
        time.sleep(_PAUSE_SECONDS)


_TAKEN: Final = "where another program listens"


def _hindrance(bind: str) -> str | None:
    if bind.startswith("unix:"):
        return _at_path(Path(bind.removeprefix("unix:")))
    host, _, port = bind.rpartition(":")
    return _at_port(host.strip("[]"), int(port))


def _at_path(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"and there is no folder {folder}; create it, or name another socket {_ELSEWHERE}"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        return (
            f"and {folder} cannot be written ({exc.strerror}); give it to the user that runs the receiver, "
            f"or name another socket {_ELSEWHERE}"
        )
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        return f"which is longer than the {_MAX_PATH_BYTES} bytes of a socket's path; name a shorter one {_ELSEWHERE}"
    if not os.path.lexists(path):
        return None
    if not stat.S_ISSOCK(path.stat().st_mode):
        return f"where something else than a socket is; remove it, or name another socket {_ELSEWHERE}"
    with socket.socket(socket.AF_UNIX) as probe:
        # What a receiver that was killed left behind refuses, and is replaced.
        taken = probe.connect_ex(str(path)) == 0
    return f"{_TAKEN}; stop it, or name another socket {_ELSEWHERE}" if taken else None


def _at_port(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except socket.gaierror as exc:
        return f"whose host cannot be resolved ({exc.strerror}); give an address of this machine {_ELSEWHERE}"
    except OSError as exc:
        return _AT_PORT.get(
            exc.errno or 0, f"which cannot be used ({exc.strerror}); give another address {_ELSEWHERE}"
        )
    return None


_AT_PORT: Final = {
    errno.EADDRINUSE: f"{_TAKEN}; stop it (`ss -ltnp` names it), or choose another port {_ELSEWHERE}",
    errno.EADDRNOTAVAIL: f"which is not an address of this machine; `ip addr` lists them, give one {_ELSEWHERE}",
    errno.EAFNOSUPPORT: f"and this machine has no IPv6; give an IPv4 address {_ELSEWHERE}",
    errno.EACCES: (
        "and ports below 1024 are for root and for who has CAP_NET_BIND_SERVICE; choose a higher port "
        f"{_ELSEWHERE}, or grant that capability"
    ),
}

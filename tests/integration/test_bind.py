"""An address that cannot be listened on stops the start with one sentence and status 2."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.receiver import TOKEN, Receiver, clean_environment


def start(tmp_path: Path, bind: str, *wrapper: str) -> str:
    """Our sentence about a `bind` that cannot be used."""
    done = subprocess.run(
        [*wrapper, *Receiver.command()],
        env=clean_environment(data_dir=tmp_path / "data", bearer_token=TOKEN, bind=bind),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "ERROR" not in done.stderr
    [sentence] = [line for line in done.stderr.splitlines() if line.startswith("cis490-receiver: ")]
    assert f"bind is {bind}" in sentence and "CIS490_BIND" in sentence
    return sentence


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("unix:/nope/sock", "there is no folder /nope; create it"),
        ("unix:/proc/sock", "/proc cannot be written"),
        ("unix:{tmp}/file", "something else than a socket"),
        ("unix:{tmp}/" + "x" * 108, "name a shorter one"),
        ("192.0.2.1:8490", "not an address of this machine"),
        ("host.invalid:8490", "cannot be resolved"),
    ],
)
def test_an_address_that_cannot_be_used(tmp_path: Path, bind: str, words: str) -> None:
    (tmp_path / "file").touch()
    assert words in start(tmp_path, bind.format(tmp=tmp_path))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.slow
def test_an_address_that_is_taken(tmp_path: Path, family: socket.AddressFamily) -> None:
    with socket.socket(family) as taken:
        taken.bind(str(tmp_path / "sock") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        taken.listen()
        name = taken.getsockname()
        bind = f"unix:{name}" if family == socket.AF_UNIX else f"127.0.0.1:{name[1]}"
        assert "another program listens; stop it" in start(tmp_path, bind)


def test_a_port_that_needs_a_right(tmp_path: Path, tool: Callable[[str], str]) -> None:
    # A network of its own, where the kernel's default holds for the ports that are for root.
    wrapper = [tool("unshare"), "--net", tool("setpriv"), "--bounding-set=-net_bind_service"]
    assert "CAP_NET_BIND_SERVICE" in start(tmp_path, "0.0.0.0:80", *wrapper)


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "sock"))
    receiver = Receiver(tmp_path / "data", tmp_path / "log", bind=f"unix:{tmp_path / 'sock'}")
    try:
        receiver.start()
        assert receiver.request("GET", "/v1/health").status == 200
    finally:
        receiver.end()

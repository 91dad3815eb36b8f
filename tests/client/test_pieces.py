"""The shipper's large files against the real receiver, over connections that break, through restarts of either end."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client.hosts import Lab
from tests.client.waiting import until
from tests.support.archives import make_episode
from tests.support.receiver import Receiver

SIZE = 6 << 20


class Wire:
    """A TCP connection that passes bytes on, and breaks after as many as `cuts` say, one connection after another."""

    def __init__(self, port: int) -> None:
        self.to_port = port
        self.cuts: list[int] = []
        self.passed = 0
        self.refused: set[bytes] = set()
        #: What a request's head says, and what comes out of it.
        self.spoils: tuple[bytes, bytes] = (b"", b"")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = client.recv(65536)
            if head.split(b" ", 1)[0] in self.refused:
                client.sendall(
                    b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            with socket.create_connection(("127.0.0.1", self.to_port)) as server:
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()
                left = self.cuts.pop(0) if head.startswith(b"PATCH") and self.cuts else 1 << 40
                said, becomes = self.spoils
                server.sendall(head.replace(said, becomes) if said else head)
                while data := client.recv(65536):
                    server.sendall(data[:left])
                    self.passed += len(data[:left])
                    left -= len(data)
                    if left <= 0:
                        for end in (client, server):
                            # The other thread waits for it: a mere close would not end the connection.
                            end.shutdown(socket.SHUT_RDWR)
                        return


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(receiver: Receiver) -> Iterator[Wire]:
    made = Wire(receiver.port)
    yield made
    made.close()


def lab_behind(wire: Wire, folder: Path, **keys: object) -> Lab:
    return Lab(folder, f"http://127.0.0.1:{wire.port}", resume_from_bytes=1 << 20, **keys)


def test_what_is_cut_goes_on_where_it_was(receiver: Receiver, wire: Wire, tmp_path: Path) -> None:
    lab, archive = lab_behind(wire, tmp_path / "lab"), make_episode(1, size=SIZE)
    wire.cuts = [1_000_000, 2_000_000, 1_500_000]
    lab.record("run-1", archive)
    done = lab.run("cis490-shipper", "run", "--once")
    assert done.stdout == "1 shipped, 0 refused, 0 left in the spool\n", done.stderr
    assert wire.cuts == []
    assert wire.passed <= len(archive.data) * 1.05
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): archive.data}
    assert done.stderr.count("resumed ") == 3
    # What is there already costs a question.
    lab.record("run-1", archive)
    before = wire.passed
    assert lab.run("cis490-shipper", "run", "--once").stdout.startswith("1 shipped")
    assert wire.passed - before < 20_000


def test_either_end_may_die(
    receiver: Receiver, wire: Wire, start_shipper: Callable[[Lab], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    lab, archive = lab_behind(wire, tmp_path / "lab"), make_episode(2, size=SIZE)
    lab.record("run-1", archive)
    wire.cuts = [3_000_000, 0, 0, 0]
    shipper = start_shipper(lab)
    until(lambda: not wire.cuts, "the cuts")
    status = json.loads(lab.run("cis490-shipper", "status", "--json").stdout)
    [partly] = status["partly_sent"]
    assert partly["file"] == "run-1.tar.zst" and 0 < partly["sent_bytes"] < len(archive.data)
    shipper.send_signal(signal.SIGKILL)
    shipper.wait()
    receiver.settings["bind"] = f"127.0.0.1:{receiver.port}"
    receiver.kill()
    receiver.start()
    start_shipper(lab)
    until(lambda: lab.names("shipped") == {"run-1.tar.zst"}, "the receipt")
    assert wire.passed <= len(archive.data) * 1.05
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): archive.data}


def test_a_file_that_became_another_one_begins_anew(receiver: Receiver, wire: Wire, tmp_path: Path) -> None:
    lab, first, second = (
        lab_behind(wire, tmp_path / "lab"),
        make_episode(3, size=SIZE),
        make_episode(4, size=SIZE),
    )
    lab.record("run-1", first)
    wire.cuts = [1_000_000, *[0] * 50]
    assert lab.run("cis490-shipper", "run", "--once").stdout.endswith("1 left in the spool\n")
    wire.cuts = []
    lab.record("run-1", second)
    assert lab.run("cis490-shipper", "run", "--once").stdout.startswith("1 shipped")
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): second.data}


@pytest.mark.parametrize("method", [b"OPTIONS", b"POST", b"PATCH"])
def test_where_there_is_no_way_for_pieces_the_whole_goes(
    receiver: Receiver, wire: Wire, tmp_path: Path, method: bytes
) -> None:
    lab, archive = lab_behind(wire, tmp_path / "lab"), make_episode(5, size=SIZE)
    wire.refused = {method}
    lab.record("run-1", archive)
    assert lab.run("cis490-shipper", "run", "--once").stdout.startswith("1 shipped")
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): archive.data}


@pytest.mark.parametrize(
    "header", [b"Tus-Resumable: 1.0.0\r\n", b"Content-Type: application/offset+octet-stream\r\n"]
)
def test_the_whole_goes_where_a_proxy_drops_the_headers_of_pieces(
    receiver: Receiver, wire: Wire, tmp_path: Path, header: bytes
) -> None:
    lab, archive = lab_behind(wire, tmp_path / "lab"), make_episode(6, size=SIZE)
    wire.spoils = (header, b"")
    lab.record("run-1", archive)
    done = lab.run("cis490-shipper", "run", "--once")
    assert done.stdout == "1 shipped, 0 refused, 0 left in the spool\n", done.stderr
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): archive.data}


def test_a_dispute_about_the_offset_refuses_no_episode(
    receiver: Receiver, wire: Wire, tmp_path: Path
) -> None:
    lab, archive = lab_behind(wire, tmp_path / "lab"), make_episode(7, size=SIZE)
    wire.spoils = (b"Upload-Offset: 0\r\n", b"Upload-Offset: 1\r\n")
    lab.record("run-1", archive)
    done = lab.run("cis490-shipper", "run", "--once")
    assert done.stdout == "0 shipped, 0 refused, 1 left in the spool\n", done.stderr
    wire.spoils = (b"", b"")
    assert lab.run("cis490-shipper", "run", "--once").stdout.startswith("1 shipped")

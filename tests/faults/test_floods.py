"""Clients by the hundred that say nothing, or little, or too slowly: a healthy host does not notice them."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import Receiver, put_headers

EPISODE = make_episode(1, size=64_000)
SLOW_HEAD = b"PUT /v1/episodes/slow/e.tar.zst HTTP/1.1\r\nHost: x\r\nX-More: "
pytestmark = pytest.mark.slow
START = Callable[..., Receiver]


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    """Let this process open as many sockets as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connected(receiver: Receiver, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, on each of which `first` was said."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(receiver.raw())) for _ in range(count)]
        for connection in sockets:
            connection.sendall(first)
        yield sockets


def put_head(length: int, **headers: str) -> bytes:
    given = put_headers(EPISODE, **headers) | {"Host": "x", "Content-Length": str(length)}
    lines = [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join(["PUT /v1/episodes/slow/e.tar.zst HTTP/1.1", *lines, "", ""]).encode()


def seconds_of_a_put(receiver: Receiver, name: str) -> float:
    started = time.monotonic()
    assert receiver.put("healthy", name, EPISODE).status == 201
    return time.monotonic() - started


def end_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


@contextlib.contextmanager
def dripping(sockets: list[socket.socket]) -> Iterator[None]:
    """A byte on each of them every half second."""
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.5):
            for connection in sockets:
                with contextlib.suppress(OSError):
                    connection.send(b"x", socket.MSG_DONTWAIT)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_healthy_host_ships_within_two_seconds_beside_a_flood(shared_receiver: Receiver) -> None:
    with (
        connected(shared_receiver, 2000),
        connected(shared_receiver, 500, SLOW_HEAD) as heads,
        connected(shared_receiver, 500, put_head(500_000) + b"x") as bodies,
        dripping(heads + bodies),
    ):
        for number in range(12):
            assert seconds_of_a_put(shared_receiver, f"flood{number}") < 2


def test_a_first_request_gets_head_seconds(start_receiver: START) -> None:
    receiver = start_receiver(workers=1, head_seconds=2)
    started = time.monotonic()
    with connected(receiver, 1) as [silent], connected(receiver, 1, SLOW_HEAD) as [slow], dripping([slow]):
        assert end_of(silent) == b""
        assert end_of(slow).startswith(b"HTTP/1.1 408 ")
    # The main loop looks at its clock once a second.
    assert 2 <= time.monotonic() - started < 5


def test_a_head_without_end_is_refused(start_receiver: START) -> None:
    receiver = start_receiver(workers=1)
    with connected(receiver, 1, SLOW_HEAD + b"x" * 40_000) as [endless]:
        assert end_of(endless).startswith(b"HTTP/1.1 431 ")


def test_the_oldest_silent_connection_gives_way(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "data", tmp_path / "log", workers=1, threads=2)
    try:
        # 200 files, less 4 for each thread and 64 for the process: 128 connections.
        receiver.start("prlimit", "--nofile=200:200")
        with connected(receiver, 138) as sockets:
            for connection in sockets[:10]:
                assert end_of(connection) == b""
            assert select.select(sockets[10:], [], [], 0)[0] == []
            assert seconds_of_a_put(receiver, "new") < 2
            assert end_of(sockets[10]) == b""
            # One that has begun to speak is not silent.
            sockets[11].sendall(b"GET /v1/hea")
            with connected(receiver, 20):
                assert end_of(sockets[12]) == b""
                sockets[11].sendall(b"lth HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert end_of(sockets[11]).startswith(b"HTTP/1.1 200 ")
        assert receiver.log_text().count("too-many-connections") == 1
    finally:
        receiver.end()


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(SLOW_HEAD, id="heads"),
        pytest.param(put_head(500_000) + b"x", id="bodies"),
        pytest.param(put_head(20_000_000, Authorization="Bearer no") + b"x", id="refused bodies"),
        pytest.param(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", id="never closed"),
        pytest.param(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n" + SLOW_HEAD, id="second heads"),
    ],
)
def test_slow_clients_do_not_hold_all_threads(start_receiver: START, first: bytes) -> None:
    receiver = start_receiver(workers=1, threads=4)
    with connected(receiver, 12, first) as sockets, dripping(sockets):
        assert seconds_of_a_put(receiver, "one") < 4
        assert seconds_of_a_put(receiver, "two") < 4


def test_only_the_slow_ones_give_way(start_receiver: START) -> None:
    receiver = start_receiver(workers=1, threads=4)
    steady = make_episode(2, size=400_000)
    with (
        connected(receiver, 3, put_head(500_000) + b"x") as slow,
        contextlib.closing(receiver.connect()) as connection,
    ):
        answers: list[int] = []
        pieces = [steady.data[at : at + 20_000] for at in range(0, len(steady.data), 20_000)]
        pause = threading.Event()

        def body() -> Iterator[bytes]:
            for piece in pieces:
                yield piece
                pause.wait(0.1)

        def ship() -> None:
            headers = put_headers(steady) | {"Content-Length": str(len(steady.data))}
            connection.request("PUT", "/v1/episodes/steady/e.tar.zst", body(), headers)
            answers.append(connection.getresponse().status)

        thread = threading.Thread(target=ship)
        thread.start()
        for number in range(4):
            assert seconds_of_a_put(receiver, f"e{number}") < 4
        thread.join()
        assert answers == [201]
        told = [end_of(each) for each in slow if select.select([each], [], [], 0)[0]]
        assert told and all(answer.startswith(b"HTTP/1.1 408 ") for answer in told)
    assert "too-few-threads" in receiver.log_text()

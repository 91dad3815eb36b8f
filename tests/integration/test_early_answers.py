"""Answers that the head decides: before the body is asked for, and readable while it is being sent."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver, put_headers, read_answer

EPISODE = make_episode(1, size=500_000)
BIG = 20_000_000


def send_head(connection: socket.socket, path: str, headers: dict[str, str]) -> None:
    lines = [f"PUT /v1/episodes/{path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items())]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def expecting(**headers: str) -> dict[str, str]:
    return put_headers(EPISODE, **headers) | {
        "Expect": "100-continue",
        "Content-Length": str(len(EPISODE.data)),
    }


def test_continue_is_said_only_when_the_body_is_wanted(shared_receiver: Receiver) -> None:
    with contextlib.closing(shared_receiver.raw()) as connection:
        send_head(connection, "expect/e.tar.zst", expecting())
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(EPISODE.data)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("expect/bad.tar.zst", expecting(Authorization="Bearer no"), 401),
        ("expect/bad.zip", expecting(), 400),
        ("expect/bad.tar.zst", expecting(X_Content_SHA256="z"), 400),
        ("expect/taken.tar.zst", expecting(), 200),
        ("expect/taken.tar.zst", expecting(X_Content_SHA256="0" * 64), 409),
    ],
)
def test_a_client_that_waits_is_answered_without_sending_its_body(
    shared_receiver: Receiver, path: str, headers: dict[str, str], status: int
) -> None:
    shared_receiver.put("expect", "taken", EPISODE)
    with contextlib.closing(shared_receiver.raw()) as connection:
        send_head(connection, path, headers)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    # What the client would send now could be taken for its next request.
    assert b"Connection: close" in head
    assert isinstance(json.loads(body), dict)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_keeps_sending_reads_its_refusal(shared_receiver: Receiver, chunked: bool) -> None:
    for attempt in range(20):
        with contextlib.closing(shared_receiver.connect()) as connection:
            body = (b"x" * 65536 for _ in range(BIG // 65536))
            headers = AUTH | {"X-Content-SHA256": "short"}
            if not chunked:
                headers["Content-Length"] = str(BIG // 65536 * 65536)
            connection.request(
                "PUT", f"/v1/episodes/sender/e{attempt}.tar.zst", body, headers, encode_chunked=chunked
            )
            assert read_answer(connection).status == 400


def test_a_refusal_and_then_an_acceptance_on_one_connection(shared_receiver: Receiver) -> None:
    with contextlib.closing(shared_receiver.connect()) as connection:
        sockets = set()
        for number in range(100):
            episode = make_episode(number)
            path = f"/v1/episodes/alternate/e{number}.tar.zst"
            connection.request("PUT", path, episode.data, put_headers(episode, X_Schema_Version="x"))
            assert read_answer(connection).status == 400
            connection.request("PUT", path, episode.data, put_headers(episode))
            assert read_answer(connection).status == 201
            sockets.add(id(connection.sock))
        assert len(sockets) == 1


@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1])
def test_a_connection_that_ends_behind_a_refusal_is_said_to_end(shared_receiver: Receiver, size: int) -> None:
    headers = AUTH | {"X-Content-SHA256": "short"}
    with contextlib.closing(shared_receiver.connect()) as connection:
        for _ in range(10):
            # The connection is made anew where the answer before said that it would close, and not otherwise.
            connection.request("PUT", "/v1/episodes/edge/e.tar.zst", bytes(size), headers)
            assert read_answer(connection).status == 400


def test_what_follows_a_refused_body_is_not_a_request(shared_receiver: Receiver) -> None:
    """A body that holds a request must not be taken for one after its PUT was refused."""
    episode = make_episode(3)
    smuggled = b"".join(
        [
            b"PUT /v1/episodes/smuggled/e.tar.zst HTTP/1.1\r\nHost: x\r\n",
            f"Authorization: {AUTH['Authorization']}\r\nX-Content-SHA256: {episode.sha256}\r\n".encode(),
            f"Content-Length: {len(episode.data)}\r\n\r\n".encode() + episode.data,
        ]
    )
    for headers in (expecting(X_Content_SHA256="z"), put_headers(episode, X_Content_SHA256="z")):
        with contextlib.closing(shared_receiver.raw()) as connection:
            send_head(connection, "smuggler/e.tar.zst", headers | {"Content-Length": str(len(smuggled))})
            with contextlib.suppress(OSError):
                connection.sendall(smuggled)
                connection.shutdown(socket.SHUT_WR)
            answers = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answers += piece
            assert answers.count(b"HTTP/1.1 ") == 1
    assert ("smuggled", "e.tar.zst") not in shared_receiver.stored()


@pytest.mark.slow
def test_stalled_clients_are_told_and_make_room(start_receiver) -> None:  # type: ignore[no-untyped-def]
    receiver: Receiver = start_receiver(workers=1, threads=4, body_idle_seconds=2, head_seconds=2)
    stalled = []
    for number in range(8):
        connection = receiver.raw()
        if number % 2:
            send_head(
                connection, f"stall/e{number}.tar.zst", put_headers(EPISODE) | {"Content-Length": "500000"}
            )
            connection.sendall(EPISODE.data[:1000])
        else:
            connection.sendall(b"PUT /v1/episodes/stall/e.tar.zst HTTP/1.1\r\nHost:")
        stalled.append(connection)
    started = time.monotonic()
    answer = receiver.put("stall", "good", EPISODE)
    assert answer.status == 201
    assert time.monotonic() - started < 15
    for connection in stalled:
        connection.settimeout(15)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
        connection.close()
    assert set(receiver.stored()) == {("stall", "good.tar.zst")}
    assert receiver.incoming() == []


@pytest.mark.slow
def test_a_dribbling_body_ends_at_its_total_time(start_receiver) -> None:  # type: ignore[no-untyped-def]
    receiver: Receiver = start_receiver(body_max_seconds=2)
    for framing in ("Content-Length: 500000", "Transfer-Encoding: chunked"):
        with contextlib.closing(receiver.raw()) as connection:
            name, value = framing.split(": ")
            send_head(connection, "dribble/e.tar.zst", put_headers(EPISODE) | {name: value})
            done = threading.Event()

            def dribble(
                connection: socket.socket = connection, framing: str = framing, done: threading.Event = done
            ) -> None:
                with contextlib.suppress(OSError):
                    while not done.wait(0.1):
                        connection.sendall(b"x" if "Length" in framing else b"1\r\nx\r\n")

            thread = threading.Thread(target=dribble)
            thread.start()
            try:
                assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
            finally:
                done.set()
                thread.join()
    assert receiver.stored() == {} and receiver.incoming() == []


@pytest.mark.slow
def test_two_hundred_slow_uploads_do_not_hold_up_a_healthy_host(shared_receiver: Receiver) -> None:
    slow = []
    for number in range(200):
        connection = shared_receiver.raw()
        send_head(connection, f"slow/e{number}.tar.zst", put_headers(EPISODE) | {"Content-Length": "500000"})
        connection.sendall(EPISODE.data[:100])
        slow.append(connection)
    deadline = time.monotonic() + 20
    while len(shared_receiver.incoming()) < 200:
        assert time.monotonic() < deadline, "they are not all under way at once"
        time.sleep(0.05)
    for number in range(20):
        assert shared_receiver.put("healthy", f"e{number}", EPISODE, timeout=5).status == 201
    for connection in slow:
        connection.close()
    while shared_receiver.incoming():
        assert time.monotonic() < deadline + 5
        time.sleep(0.05)


def test_a_connection_that_says_nothing_does_not_hold_up_a_stop(start_receiver) -> None:  # type: ignore[no-untyped-def]
    receiver: Receiver = start_receiver(graceful_seconds=60, workers=1)
    with contextlib.closing(receiver.raw()):
        for _ in range(3):
            # Whoever is answered after it came after it.
            assert receiver.request("GET", "/v1/health").status == 200
        started = time.monotonic()
        assert receiver.stop() == 0
        assert time.monotonic() - started < 15

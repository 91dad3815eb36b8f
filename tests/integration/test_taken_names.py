"""A name that is taken: what is answered from the head, and what from the bytes."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
from collections.abc import Iterator

import pytest

from tests.support.archives import Archive
from tests.support.receiver import Answer, Receiver, put_headers, read_answer

SMALL = 64 * 1024


def sized(seed: int, size: int) -> Archive:
    """`size` bytes, whatever they are."""
    return Archive(random.Random(seed).randbytes(size))


def rotten(archive: Archive) -> bytes:
    """One bit of it is another."""
    middle = len(archive.data) // 2
    return archive.data[:middle] + bytes([archive.data[middle] ^ 1]) + archive.data[middle + 1 :]


def put(receiver: Receiver, name: str, body: bytes, sha256: str, *, piece: int | None = None) -> Answer:
    """PUT `body`, in chunks of `piece` bytes when given."""
    path = f"/v1/episodes/taken/{name}.tar.zst"
    headers = put_headers(Archive(body), X_Content_SHA256=sha256)
    if piece is None:
        return receiver.request("PUT", path, body, headers)
    pieces: Iterator[bytes] = (body[at : at + piece] for at in range(0, len(body), piece))
    return receiver.request("PUT", path, pieces, headers, encode_chunked=True)


@pytest.mark.parametrize("piece", [None, 1000, SMALL], ids=["length", "chunks", "one chunk"])
@pytest.mark.parametrize("size", [1, 5000, SMALL])
def test_a_small_body_that_is_not_what_its_head_says_is_told_so(
    receiver: Receiver, size: int, piece: int | None
) -> None:
    episode, other = sized(1, size), sized(2, size)
    assert put(receiver, "e", episode.data, episode.sha256, piece=piece).status == 201
    actual = hashlib.sha256(rotten(episode)).hexdigest()
    for announced in (episode.sha256, "0" * 64):
        answer = put(receiver, "e", rotten(episode), announced, piece=piece)
        assert (answer.status, answer.json["status"]) == (400, "sha-mismatch")
        assert answer.json["actual_sha256"] == actual
    assert put(receiver, "e", episode.data, episode.sha256, piece=piece).status == 200
    if size > 1:
        conflict = put(receiver, "e", other.data, other.sha256, piece=piece)
        assert (conflict.status, conflict.json["existing_sha256"]) == (409, episode.sha256)
    assert receiver.stored() == {("taken", "e.tar.zst"): episode.data}
    assert len(receiver.index()) == 1 and receiver.incoming() == []


@pytest.mark.parametrize("piece", [None, 1000], ids=["length", "chunks"])
def test_a_larger_body_is_answered_from_its_head(shared_receiver: Receiver, piece: int | None) -> None:
    name = f"large-{piece}"
    for extra in (1, 500_000):
        episode = sized(3, SMALL + extra)
        name = f"{name}-{extra}"
        assert put(shared_receiver, name, episode.data, episode.sha256, piece=piece).status == 201
        assert put(shared_receiver, name, rotten(episode), episode.sha256, piece=piece).status == 200
        assert put(shared_receiver, name, rotten(episode), "0" * 64, piece=piece).status == 409
        assert shared_receiver.stored()["taken", f"{name}.tar.zst"] == episode.data


def test_a_sender_that_waits_is_answered_from_its_head(shared_receiver: Receiver) -> None:
    episode = sized(4, 1000)
    put(shared_receiver, "waits", episode.data, episode.sha256)
    head = (
        "PUT /v1/episodes/taken/waits.tar.zst HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in put_headers(episode).items())
    )
    for announced, status in ((episode.sha256, b"200"), ("0" * 64, b"409")):
        with contextlib.closing(shared_receiver.raw()) as connection:
            connection.sendall(head.replace(episode.sha256, announced).encode() + b"\r\n")
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.split()[1] == status and b"100 Continue" not in answer


def test_a_small_body_that_ends_early_is_no_repeat(shared_receiver: Receiver) -> None:
    episode = sized(5, 1000)
    put(shared_receiver, "short", episode.data, episode.sha256)
    with contextlib.closing(shared_receiver.raw()) as connection:
        lines = [f"{name}: {value}" for name, value in put_headers(episode).items()]
        head = ["PUT /v1/episodes/taken/short.tar.zst HTTP/1.1", "Host: x", "Content-Length: 1000", *lines]
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + episode.data[:999])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_connection_goes_on_behind_every_answer(shared_receiver: Receiver) -> None:
    episode = sized(6, 3000)
    good = put_headers(episode)
    path = "/v1/episodes/taken/goes-on.tar.zst"
    with contextlib.closing(shared_receiver.connect()) as connection:
        connection.connect()
        first = connection.sock
        statuses = []
        for body in [episode.data, rotten(episode), episode.data] * 5:
            connection.request("PUT", path, body, good)
            statuses.append(read_answer(connection).status)
            assert connection.sock is first
    assert statuses == [201, 400, 200] + [200, 400, 200] * 4


def test_an_empty_body_asks_about_a_name_and_stores_nothing(receiver: Receiver) -> None:
    episode, other = sized(1, 5000), sized(2, 5000)
    assert put(receiver, "e", b"", episode.sha256).json["status"] == "sha-mismatch"
    assert put(receiver, "e", episode.data, episode.sha256).status == 201
    assert put(receiver, "e", b"", episode.sha256).json["status"] == "already-present"
    assert put(receiver, "e", b"", other.sha256).json["status"] == "conflict"
    assert len(receiver.index()) == 1 and receiver.incoming() == []

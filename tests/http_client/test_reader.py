"""Many GETs over kept connections: what a server may do to them, and what is believed of its parts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile

import pytest

from cis490_receiver.http_client.decoding import Decoded
from cis490_receiver.http_client.endpoint import Endpoint
from cis490_receiver.http_client.failures import ReceiverFailed
from cis490_receiver.http_client.reader import Body, Reader
from cis490_receiver.trainer.remote import WORDING
from tests.support.archives import make_episode
from tests.support.receiver import TOKEN, Receiver


def answer(body: bytes, *, status: str = "200 OK", length: int | None = None, head: str = "") -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{head}\r\n".encode() + body


@contextmanager
def scripted(*connections: Sequence[bytes]) -> Iterator[tuple[Reader, list[bytes]]]:
    """A reader of a server that takes one connection after the other, gives each request on it the next of its answers,
    and then closes it; and the heads of the requests."""
    heads: list[bytes] = []

    def serve() -> None:
        for answers in connections:
            sock, _ = listener.accept()
            # A client may hang up.
            with suppress(OSError), sock, sock.makefile("rb") as stream:
                for one in answers:
                    heads.append(b"".join(takewhile(lambda line: line != b"\r\n", stream)))
                    sock.sendall(one)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        reader = Reader(Endpoint(url=url, wording=WORDING, connect_seconds=5, idle_seconds=5))
        yield reader, heads
        reader.drop()
        thread.join()


def whole(body: Body | Decoded) -> bytes:
    return b"".join(iter(lambda: body.read(3), b""))


def test_a_connection_is_kept_and_one_that_was_closed_meanwhile_is_made_anew() -> None:
    with scripted([answer(b"one"), answer(b"two")], [answer(b"three")]) as (reader, heads):
        assert [whole(reader.get("/a")), whole(reader.get("/b")), whole(reader.get("/c"))] == [
            b"one",
            b"two",
            b"three",
        ]
    assert [head.split()[1] for head in heads] == [b"/a", b"/b", b"/c"]


def test_a_body_that_was_left_unread_is_not_taken_for_the_next_answer() -> None:
    left = answer(b"l" * 4_000_000)
    with scripted([left, answer(b"another's")], [answer(b"mine")]) as (reader, _):
        assert reader.get("/a").read(1) == b"l"
        assert whole(reader.get("/b")) == b"mine"


def test_a_body_that_ends_early_is_a_failure_and_its_connection_is_over() -> None:
    with scripted([answer(b"half", length=8)], [answer(b"mine")]) as (reader, _):
        body = reader.get("/a")
        with pytest.raises(ReceiverFailed, match="ended early"):
            whole(body)
        assert whole(reader.get("/b")) == b"mine"


@pytest.mark.parametrize("said", ["bytes 5-8/9", "bytes */9", ""])
def test_a_part_that_begins_elsewhere_is_not_believed(said: str) -> None:
    head = f"Content-Range: {said}\r\n" if said else ""
    part = answer(b"part", status="206 Partial Content", head=head)
    with scripted([part]) as (reader, heads), pytest.raises(ReceiverFailed, match="what follows byte 4"):
        reader.go_on("/a", 4, '"x"')
    assert b'Range: bytes=4-\r\nIf-Range: "x"\r\n' in heads[0]


@pytest.mark.parametrize(("same", "begins_at"), [(True, 1000), (False, 0)])
def test_the_receiver_goes_on_only_with_the_same_bytes(
    shared_receiver: Receiver, same: bool, begins_at: int
) -> None:
    episode = make_episode(3, size=5000)
    shared_receiver.put("reader", "e", episode)
    url = f"http://127.0.0.1:{shared_receiver.port}"
    reader = Reader(Endpoint(url=url, wording=WORDING), {"Authorization": f"Bearer {TOKEN}"})
    digest = episode.sha256 if same else "0" * 64
    body = reader.go_on("/v1/episodes/reader/e.tar.zst", 1000, f'"{digest}"')
    assert body.begins_at == begins_at
    assert whole(body) == episode.data[begins_at:]
    reader.drop()


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        reader = Reader(Endpoint(url=url, wording=WORDING, idle_seconds=1))
        with pytest.raises(ReceiverFailed, match="did not answer in time"):
            reader.get("/")
        reader.drop()


def test_each_thread_has_a_connection_of_its_own() -> None:
    with scripted([answer(b"mine")], [answer(b"yours")]) as (reader, _):
        mine = reader.get("/a")
        found: list[bytes] = []

        def ask() -> None:
            found.append(whole(reader.get("/b")))
            reader.drop()

        # The server answers the second connection when the first one is over.
        thread = threading.Thread(target=ask)
        thread.start()
        assert whole(mine) == b"mine"
        reader.drop()
        thread.join()
        assert found == [b"yours"]

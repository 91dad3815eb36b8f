"""What no decent client sends: never a 5xx, never a hang, never a stored byte, never a second request smuggled."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import TOKEN, Receiver, running

EPISODE = make_episode(1, size=300)
BODY = EPISODE.data
SMUGGLED = (
    f"PUT /v1/episodes/smuggled/e.tar.zst HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    f"X-Content-SHA256: {EPISODE.sha256}\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY

GOOD = [
    "Host: x",
    f"Authorization: Bearer {TOKEN}",
    f"X-Content-SHA256: {EPISODE.sha256}",
    f"Content-Length: {len(BODY)}",
]


def request(
    lines: list[str] = GOOD,
    *,
    first: str = "PUT /v1/episodes/bad/e.tar.zst HTTP/1.1",
    body: bytes = BODY,
    end: str = "\r\n",
) -> bytes:
    return end.join([first, *lines, "", ""]).encode("latin-1") + body


def without_length(*more: str) -> list[str]:
    return [*GOOD[:-1], *more]


def request_lines() -> Iterator[bytes]:
    path = "/v1/episodes/bad/e.tar.zst"
    for first in (
        f"PUT {path}", f"PUT  {path} HTTP/1.1", f"PUT {path} HTTP/1.1 extra", f"PUT {path} HTTP/2.0", f"PUT {path} HTTP/0.9",
        f"PUT {path} http/1.1", f"PUT {path} HTTP/1.", f"PUT {path} HTTP/1.12", f"PUT\t{path}\tHTTP/1.1", f" PUT {path} HTTP/1.1",
        f"PU\x00T {path} HTTP/1.1", f"P@T {path} HTTP/1.1", "PUT  HTTP/1.1", "PUT * HTTP/1.1", f"CONNECT {path} HTTP/1.1",
        f"PUT http://[::1{path} HTTP/1.1", f"PUT {path}\r HTTP/1.1", f"PUT {path}%zz%00 HTTP/1.1", f"PUT {path}{'x' * 5000} HTTP/1.1",
        f"PUT /{'../' * 40}etc/passwd HTTP/1.1", "PUT /v1/episodes/../../x.tar.zst HTTP/1.1", "PUT /v1/episodes/bad/e.tar.zst? HTTP/1.1 ",
        "PUT //v1//episodes//bad//e.tar.zst HTTP/1.1", "put /v1/episodes/bad/e.tar.zst HTTP/1.1",
        "PUT /v1/episodes/bad/\xe9.tar.zst HTTP/1.1", "\x16\x03\x01\x02\x00\x01", "SSH-2.0-OpenSSH",
    ):  # fmt: skip
        yield request(first=first)
    yield b"\r\n" * 50
    yield b"\x00" * 500
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield random.Random(1).randbytes(4000)


def lengths() -> Iterator[bytes]:
    for value in (
        "-1",
        "+5",
        "0x10",
        "1e3",
        "5.0",
        "5 5",
        "5,5",
        "",
        " ",
        "abc",
        "\xb2",
        "99999999999999999999",
        "9" * 400,
        "1_0",
        "٣".encode().decode("latin-1"),
    ):
        yield request(without_length(f"Content-Length: {value}"))
    for first, second in ((len(BODY), 5), (5, len(BODY)), (len(BODY), len(BODY)), (0, len(BODY))):
        yield request(without_length(f"Content-Length: {first}", f"Content-Length: {second}"))


def codings() -> Iterator[bytes]:
    chunked = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
    for value in (
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "xchunked",
        "chunked\x0b",
        "chunked;q=1",
        '"chunked"',
        "",
        "gzip",
    ):
        yield request(without_length(f"Transfer-Encoding: {value}"), body=chunked)
    yield request(without_length("Transfer-Encoding: chunked", "Content-Length: 5"), body=chunked)
    yield request(without_length("Content-Length: 5", "Transfer-Encoding: chunked"), body=chunked)
    yield request(without_length("Transfer-Encoding : chunked"), body=chunked)
    yield request(without_length(" Transfer-Encoding: chunked"), body=chunked)
    yield request(without_length("Transfer_Encoding: chunked"), body=chunked)
    yield request(
        without_length("Transfer-Encoding: chunked"),
        first="PUT /v1/episodes/bad/e.tar.zst HTTP/1.0",
        body=chunked,
    )


def chunks() -> Iterator[bytes]:
    size = b"%x" % len(BODY)
    for body in (
        b"", b"\r\n", b"0", b"zz\r\n" + BODY, b"-5\r\n" + BODY, b"0x5\r\nabcde\r\n0\r\n\r\n", b" 5\r\nabcde\r\n0\r\n\r\n", b"5 \r\nabcde\r\n0\r\n\r\n",
        b"5\nabcde\n0\n\n", b"5\r\nabcdeXX0\r\n\r\n", b"5\r\nabc", b"5\r\nabcde", b"5\r\nabcde\r\n", b"5\r\nabcde\r\n0\r\n",
        b"f" * 17 + b"\r\n" + BODY, b"f" * 9000 + b"\r\n", size + b";" + b"x" * 9000 + b"\r\n" + BODY, size + b";a=\r\n" + BODY + b"\r\n0\r\n\r\n",
        size + b"\r\n" + BODY + b"0\r\n\r\n", size + b"\r\n" + BODY + b"\r\n0\r\nX" + b"y" * 300_000, size + b"\r\n" + BODY + b"\r\n0\r\nbad trailer\r\n\r\n",
        size + b"\r\n" + BODY[:-1] + b"\r\n0\r\n\r\n", b"5\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", b"1_0\r\n" + BODY[:16] + b"\r\n0\r\n\r\n",
    ):  # fmt: skip
        yield request(without_length("Transfer-Encoding: chunked"), body=body)


def headers() -> Iterator[bytes]:
    for bad in (
        "NoColon", ": empty", "Sp ace: x", "X-A\x00: b", "X-A: b\x00c", "X-A: b\x01c", "X-A: b\x7fc", "X-A: b\rc", "X\xe9: y", " folded", "X-A: b\r\n folded",
        "Host: y", "Host: a b", "Content-Type: a\r\nContent-Type: b", f"X-A: {'x' * 9000}", f"{'X' * 9000}: y", "Expect: 200-maybe",
        f"X-Content-SHA256: {'0' * 64}", "X-Schema-Version: \xb2", "X-Schema-Version: 1\r\nX-Schema-Version: 2",
        f"Authorization: Bearer {TOKEN}", "Content-Range: bytes 0-1/2\r\nX-Schema-Version: x",
    ):  # fmt: skip
        yield request([*GOOD, bad])
    yield request([*GOOD, *(f"X-{number}: y" for number in range(500))])
    yield request(GOOD[1:])
    yield request(["Host:", *GOOD[1:]])
    yield request(end="\n")
    yield request(end="\r")
    for name in ("X-Content-SHA256", "Authorization"):
        for value in ("", "\xff" * 64, "a" * 63, "a" * 8000, "a b", "\t", "g" * 64, "A" * 65):
            yield request([line for line in GOOD if not line.startswith(name)] + [f"{name}: {value}"])


def cut_bodies() -> Iterator[bytes]:
    for count in (0, 1, len(BODY) // 2, len(BODY) - 1):
        yield request(body=BODY[:count])
    yield request(body=BODY[:-1] + b"x")


def mutations() -> Iterator[bytes]:
    """A request with a wrong token, some bytes of its head changed, doubled or dropped."""
    dice = random.Random(7)
    good = request([line.replace(TOKEN, "wrong") for line in GOOD])
    for _ in range(100):
        data = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(good.index(b"\r\n\r\n"))
            data[at : at + dice.randint(0, 2)] = bytes(dice.randrange(256) for _ in range(dice.randint(0, 3)))
        yield bytes(data)


#: Where the body ends is in doubt: nothing may be taken for a request behind it.
AMBIGUOUS = [*lengths(), *codings(), *chunks()]
MALFORMED = [*AMBIGUOUS, *request_lines(), *headers(), *cut_bodies(), *mutations()]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with running(tmp_path_factory.mktemp("hostile"), head_seconds=3, body_idle_seconds=3) as started:
        yield started


def answers_to(receiver: Receiver, data: bytes, *, close_write: bool = True) -> bytes:
    """Everything that comes back until the other side closes, within 15 s."""
    received = b""
    with contextlib.closing(receiver.raw(timeout=15)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            if close_write:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    return received


def statuses(answers: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d{3}) ", answers)]


def assert_nothing_came_of_it(receiver: Receiver) -> None:
    assert receiver.stored().keys() <= {("fine", name) for name in ("e.tar.zst", "f.tar.zst")}
    assert receiver.put("fine", "e", EPISODE).status in (200, 201)
    assert "Traceback" not in receiver.log_text()


def test_malformed_requests_are_refused(receiver: Receiver) -> None:
    assert len(set(MALFORMED)) >= 200
    with ThreadPoolExecutor(16) as pool:
        for data, answer in zip(
            MALFORMED, pool.map(lambda d: answers_to(receiver, d), MALFORMED), strict=True
        ):
            assert all(status == 100 or 400 <= status < 500 for status in statuses(answer)), (
                data[:300],
                answer,
            )
    assert_nothing_came_of_it(receiver)


def test_nothing_rides_behind_a_body_whose_end_is_in_doubt(receiver: Receiver) -> None:
    attacks = [data + SMUGGLED for data in AMBIGUOUS]
    with ThreadPoolExecutor(16) as pool:
        for data, answer in zip(attacks, pool.map(lambda d: answers_to(receiver, d), attacks), strict=True):
            assert all(status == 100 or 400 <= status < 500 for status in statuses(answer)), (
                data[:300],
                answer,
            )
    assert_nothing_came_of_it(receiver)


def test_a_small_request_cut_at_every_byte_stores_nothing(receiver: Receiver) -> None:
    small = make_episode(2, size=1)
    whole = request(
        [
            "Host: x",
            f"Authorization: Bearer {TOKEN}",
            f"X-Content-SHA256: {small.sha256}",
            f"Content-Length: {len(small.data)}",
        ],
        body=small.data,
    )

    def cut(end: int) -> list[int]:
        return statuses(answers_to(receiver, whole[:end]))

    with ThreadPoolExecutor(16) as pool:
        for end, found in enumerate(pool.map(cut, range(len(whole)))):
            assert len(found) <= 1 and all(400 <= status < 500 for status in found), (end, found)
    assert ("bad", "e.tar.zst") not in receiver.stored()
    assert_nothing_came_of_it(receiver)


def test_good_requests_in_one_packet_are_two_requests(receiver: Receiver) -> None:
    """The framing of the next request stays right when bodies are taken past the server's buffers."""
    two = request(first="PUT /v1/episodes/fine/e.tar.zst HTTP/1.1") + request(
        first="PUT /v1/episodes/fine/f.tar.zst HTTP/1.1"
    )
    for split in (len(two), 10, 300, len(two) // 2, len(two) // 2 + 1, len(two) - 1):
        with contextlib.closing(receiver.raw()) as connection:
            connection.sendall(two[:split])
            received = b""
            later = threading.Timer(0.05, lambda c=connection, s=split: c.sendall(two[s:]))
            later.start()
            while received.count(b"sha256") < 2:
                piece = connection.recv(65536)
                assert piece, (split, received)
                received += piece
            later.join()
        assert set(statuses(received)) <= {200, 201}
    assert_nothing_came_of_it(receiver)


def test_heads_and_bodies_that_drip_end_in_time(receiver: Receiver) -> None:
    dripping = [
        request()[:-5],
        request()[:60],
        request(without_length("Transfer-Encoding: chunked"), body=b"5\r\nab"),
    ]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda data: statuses(answers_to(receiver, data, close_write=False)), dripping))
    assert found == [[408], [408], [408]]
    assert_nothing_came_of_it(receiver)

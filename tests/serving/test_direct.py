"""`serving.direct`: however a chunked body is cut, and whatever is wrong with it, its bytes, the failure and where the
next request begins are those of gunicorn's own reader."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from cis490_receiver.config import Settings
from cis490_receiver.serving.connection import ClientSocket
from cis490_receiver.serving.direct import DirectStream

HEAD = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
DATA = st.binary(min_size=1, max_size=40) | st.sampled_from(
    [b"\r\n", b"0\r\n\r\n", b"x" * 9000, b"y" * 70_000]
)
EXTENSIONS = st.sampled_from([b"", b";a", b" ; a=b", b';a="\r"', b";", b";a=", b';a="b\\"c"', b" ", b"\t;q"])
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"", b"\r", b"\n\r", b"xx", b" \r\n"])
TRAILERS = st.sampled_from([b""] * 6 + [b"A: b\r\n", b"A: b\n", b"A b\r\n", b": x\r\n", b"A: b\r\nB: c\r\n"])


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    data = draw(DATA)
    size = (
        draw(st.sampled_from([b"%x", b"%X", b"00%x", b"0x%x", b"+%x", b"-%x", b" %x", b"%x "]))
        if draw(st.integers(0, 9)) == 0
        else b"%x"
    )
    length = max(0, len(data) + draw(st.sampled_from([0] * 15 + [1, -1])))
    return (
        size % length
        + draw(EXTENSIONS if draw(st.booleans()) else st.just(b""))
        + draw(ENDS)
        + data
        + draw(ENDS)
    )


BODIES = st.builds(
    lambda middle, end, trailers, last: b"".join(middle) + end + trailers + last,
    st.lists(chunks(), max_size=6),
    st.sampled_from([b"0\r\n"] * 8 + [b"000\r\n", b"0;a\r\n", b"0\n", b"", b"g\r\n", b"0" * 9000 + b"\r\n"]),
    TRAILERS,
    st.sampled_from([b"\r\n"] * 8 + [b"", b"\n", b"\r"]),
)


@contextlib.contextmanager
def sent(text: bytes) -> Iterator[tuple[RequestParser, ClientSocket]]:
    """A parser of gunicorn's over a connection on which `text` came, and its client's side ended."""
    client, accepted = socket.socketpair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with client, ClientSocket(accepted, Settings(data_dir=Path("/nowhere"))) as server:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        server.limit_waits()
        yield RequestParser(Config(), server, ("127.0.0.1", 1)), server


def next_request(parser: RequestParser, server: ClientSocket) -> Request:
    server.start_head(b"")
    server.collect_head()
    request: Request = next(parser)
    server.start_body(continue_owed=False)
    return request


def ours(body: Body, server: ClientSocket, sizes: list[int]) -> Iterator[bytes]:
    stream = DirectStream.over(body, server)
    assert stream is not None
    while True:
        buffer = bytearray(sizes[0])
        sizes.append(sizes.pop(0))
        count = stream.readinto(memoryview(buffer))
        if count == 0:
            return
        yield bytes(buffer[:count])


def theirs(body: Body, server: ClientSocket, sizes: list[int]) -> Iterator[bytes]:
    # A piece at a time: what came before a failure counts.
    yield from body.reader.parser


def outcome(text: bytes, how: object, sizes: list[int]) -> tuple[bytes, str, str]:
    """What was read, how it ended, and what the next request on the connection is."""
    with sent(text) as (parser, server):
        request = next_request(parser, server)
        found, ended = b"", "whole"
        try:
            for piece in how(request.body, server, sizes):  # type: ignore[operator]
                found += piece
        except (OSError, ParseException) as exc:
            return found, type(exc).__name__, "none"
        assert not request.body.failed
        following = "none"
        with contextlib.suppress(StopIteration):
            following = next_request(parser, server).path
        return found, ended, following


@given(
    BODIES,
    st.booleans(),
    st.lists(st.sampled_from([1, 7, 64, 4096, 65_536, 1 << 20]), min_size=1, max_size=3),
)
@example(b"5\r\nhello\r\n0\r\n\r\n", True, [3])
def test_a_chunked_body_is_what_gunicorn_reads(body: bytes, more: bool, sizes: list[int]) -> None:
    text = HEAD + body + (NEXT if more else b"")
    if len(body) > 10_000 and min(sizes) < 64:
        sizes = [65_536]
    assert outcome(text, ours, sizes) == outcome(text, theirs, sizes)


def test_what_is_not_read_is_drained_from_where_it_was() -> None:
    with sent(HEAD + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" + NEXT) as (parser, server):
        request = next_request(parser, server)
        stream = DirectStream.over(request.body, server)
        assert stream is not None
        buffer = bytearray(7)
        assert stream.readinto(memoryview(buffer)) == 7 and bytes(buffer) == b"hello w"
        assert next_request(parser, server).path == "/next"


def test_only_what_nobody_has_read_of_is_taken_over() -> None:
    with sent(HEAD + b"5\r\nhello\r\n0\r\n\r\n") as (parser, server):
        body = next_request(parser, server).body
        assert body.read(2) == b"he" and isinstance(body.reader, ChunkedReader)
        assert DirectStream.over(body, server) is None
    with sent(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello") as (parser, server):
        body = next_request(parser, server).body
        assert isinstance(body.reader, LengthReader) and DirectStream.over(body, server) is not None


def test_a_body_that_ends_too_soon_is_no_end() -> None:
    with sent(HEAD + b"5\r\nhel") as (parser, server):
        stream = DirectStream.over(next_request(parser, server).body, server)
        assert stream is not None
        buffer = memoryview(bytearray(10))
        assert stream.readinto(buffer) == 3
        for _ in range(2):
            with pytest.raises(OSError):
                stream.readinto(buffer)

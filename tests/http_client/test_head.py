"""The head of an answer is what `http.client` would make of it."""

from __future__ import annotations

import http.client
import io
import socket

import pytest

from cis490_receiver.http_client.exchange import Answer

HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length:5 \r\nConnection: close\r\nX-Odd:  a b \r\nx-odd: c\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-4/9\nContent-Length: 5\n\nhello",
    b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n',
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\nhello",
    "HTTP/1.1 200 Schön\r\nX-Latin: é\r\nContent-Length: 5\r\n\r\nhello".encode("latin-1"),
]
NO_HEADS = [
    b"",
    b"<html>\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
]


class _Sock:
    """What `HTTPResponse` wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def taken(kind: type[http.client.HTTPResponse], data: bytes, method: str) -> tuple[object, ...]:
    sock: socket.socket = _Sock(data)  # type: ignore[assignment]
    answer = kind(sock, method=method)
    answer.begin()
    told = answer.status, answer.reason, answer.version, bool(answer.will_close), answer.length
    headers = [(name, " ".join(value.split())) for name, value in answer.msg.items()]
    return *told, bool(answer.chunked), headers, answer.read(100), answer.isclosed()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("data", HEADS)
def test_it_reads_what_the_standard_library_reads(data: bytes, method: str) -> None:
    assert taken(Answer, data, method) == taken(http.client.HTTPResponse, data, method)


@pytest.mark.parametrize("data", NO_HEADS)
def test_what_is_no_head_is_an_error_of_the_same_kind(data: bytes) -> None:
    for kind in (Answer, http.client.HTTPResponse):
        with pytest.raises(http.client.HTTPException):
            taken(kind, data, "GET")

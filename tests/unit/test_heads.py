"""A head goes to a thread exactly when gunicorn's parser needs no more of it."""

from __future__ import annotations

import pytest
from gunicorn.config import Config
from gunicorn.http import RequestParser

from cis490_receiver.serving.head import MAX_HEAD_BYTES, MAX_LINE_BYTES, Head, judge
from tests.faults.test_hostile_clients import MALFORMED, request


class AsksForMore(Exception):
    """The parser wants bytes that are not there."""


class Given:
    """A socket from which `data` has come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, _size: int) -> bytes:
        if not self._data:
            raise AsksForMore
        data, self._data = self._data, b""
        return data


def asks_for_more(data: bytes) -> bool:
    config = Config()
    for name, value in {
        "http_parser": "python",
        "limit_request_line": MAX_LINE_BYTES,
        "limit_request_fields": 64,
    }.items():
        config.set(name, value)
    try:
        next(RequestParser(config, Given(data), ("127.0.0.1", 1)))
    except AsksForMore:
        return True
    except Exception:
        # It refuses this head.
        return False
    return False


@pytest.mark.parametrize("data", [request(), *MALFORMED])
def test_the_parser_agrees(data: bytes) -> None:
    head = data[:MAX_HEAD_BYTES]
    for end in {*range(1, min(len(head), 200)), *range(200, len(head), 97), len(head)}:
        state = judge(head[:end])
        assert state in (Head.BEGUN, Head.WHOLE)
        if state is Head.WHOLE:
            assert not asks_for_more(head[:end]), head[:end]


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (b"", Head.SILENT),
        (b"\r\n", Head.BEGUN),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", Head.BEGUN),
        (b"GET / HTTP/1.1\r\n\r\n", Head.WHOLE),
        (b"\r\nGET / HTTP/1.1\r\n\r\nPUT", Head.WHOLE),
        (b"SSH-2.0-OpenSSH\r\n", Head.WHOLE),
        (b"GET / HTTP/1.1\n", Head.WHOLE),
        (b"G" * 5000, Head.WHOLE),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD_BYTES, Head.TOO_LARGE),
    ],
)
def test_how_far_a_head_is(data: bytes, state: Head) -> None:
    assert judge(data) is state


def test_the_end_of_the_clients_side() -> None:
    assert judge(b"", ended=True) is Head.ENDED
    assert judge(b"GET /", ended=True) is Head.WHOLE

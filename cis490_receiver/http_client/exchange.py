"""One HTTP exchange whose answer may come before its body has left.

`http.client` sends a body to its end whatever the server says meanwhile. Here a large one is announced with
``Expect: 100-continue`` (RFC 9110 §10.1.1), the answer is looked for between its pieces, and one that comes early, or
that was left by a server which then closed, is read. Memory is one piece, whatever the size of the file.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Final

from cis490_receiver.http_client.failures import FileChanged, FileUnreadable
from cis490_receiver.http_client.head import read_head

PIECE_BYTES: Final = 256 * 1024
#: How long a server may take to say 100; one that does not know of it says nothing (RFC 9110 §10.1.1).
CONTINUE_SECONDS: Final = 5.0
#: How long a server that closed while we sent is given for the answer that it may have left.
LEFT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 4 << 20

#: Told the bytes of each piece that left.
Sent = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Upload:
    """A body read from a file.

    Attributes:
        stream: at its beginning.
        size_bytes: how many bytes it has.
        announced: whether to wait for ``100 Continue``.
        sent: told of the progress.
    """

    stream: FileIO
    size_bytes: int
    announced: bool
    sent: Sent


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Answer(http.client.HTTPResponse):
    """A response that can be looked for without being waited for."""

    def __init__(self, sock: socket.socket, method: str) -> None:
        super().__init__(sock, method=method)
        self._socket = sock
        self._asked_by = method

    def begin(self) -> None:
        """Read the head, see `http.client`.

        Raises:
            HTTPException: it is none.
            OSError: it did not come.
        """
        head = read_head(self.fp)
        while head.is_interim:
            head = read_head(self.fp)
        self.version, self.status, self.reason = head.version, head.status, head.reason
        self.headers = self.msg = head.headers
        self.length = head.length(self._asked_by)
        self.chunked = head.is_chunked
        self.chunk_left = None
        self.will_close = head.closes or (self.length is None and not self.chunked)

    def has_come(self, seconds: float) -> bool:
        """Whether the first bytes of it are there, or come within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            if self._peek():
                return True
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                return self._peek()

    def is_interim(self) -> bool:
        """Whether what has come is ``100 Continue``, which is then read."""
        if not self.fp.peek(12)[:12].startswith((b"HTTP/1.1 100", b"HTTP/1.0 100")):
            return False
        while self.fp.readline(65537) not in (b"\r\n", b"\n", b""):
            pass
        return True

    def _peek(self) -> bool:
        # A readable TLS socket may hold nothing but a session ticket, so that only a read can tell.
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return bool(self.fp.peek(1))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self._socket.settimeout(timeout)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | Upload | None,
    *,
    answer_seconds: float,
) -> Raw:
    """Send a request on a connection that is open, and read its answer; the connection is used up.

    `answer_seconds` is how long the answer may take once the body has left.

    Raises:
        FileChanged: the file ended before its announced size.
        FileUnreadable: the disk gave an error.
        OSError, HTTPException: no answer was had.
    """
    closing = {**headers, "Connection": "close"}
    with contextlib.closing(
        ask(connection, method, path, closing, body, answer_seconds=answer_seconds)
    ) as answer:
        return Raw(answer.status, answer.msg, answer.read(MAX_ANSWER_BYTES))


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | Upload | None,
    *,
    answer_seconds: float,
) -> Answer:
    """Send a request on a connection that is open, and read the head of its answer, whose body is the caller's to read
    and to close.

    Raises:
        FileChanged, FileUnreadable, OSError, HTTPException: as `exchange`.
    """
    sock = connection.sock
    head = head_of(method, path, connection, headers, body)
    with contextlib.ExitStack() as stack:
        answer = stack.enter_context(contextlib.closing(Answer(sock, method)))
        try:
            sock.sendall(head + (body if isinstance(body, bytes) else b""))
            if isinstance(body, Upload):
                _send_body(sock, answer, body)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as exc:
            # Whoever refuses and closes while we send has left its answer for us to read.
            _begin_left(answer, sock, exc)
        else:
            sock.settimeout(answer_seconds)
            answer.begin()
        stack.pop_all()
    return answer


def head_of(
    method: str,
    path: str,
    connection: http.client.HTTPConnection,
    headers: dict[str, str],
    body: bytes | Upload | None,
) -> bytes:
    """The head of a request.

    Raises:
        InvalidURL: it would have a character that HTTP does not allow.
    """
    length = body.size_bytes if isinstance(body, Upload) else len(body or b"")
    given = {"Host": _authority(connection), **headers}
    if body is not None or method in ("PUT", "POST"):
        given["Content-Length"] = str(length)
    if isinstance(body, Upload) and body.announced:
        given["Expect"] = "100-continue"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    text = "\r\n".join(lines)
    if text.count("\r\n") != len(lines) - 1 or not text.isascii():
        raise http.client.InvalidURL("a header or the path has a character that HTTP does not allow")
    return text.encode("ascii")


def _authority(connection: http.client.HTTPConnection) -> str:
    host = f"[{connection.host}]" if ":" in connection.host else connection.host
    return host if connection.port == connection.default_port else f"{host}:{connection.port}"


def _send_body(sock: socket.socket, answer: Answer, body: Upload) -> None:
    """Send the file, unless an answer makes that needless."""
    if body.announced and _answered(answer, CONTINUE_SECONDS):
        return
    piece = memoryview(bytearray(PIECE_BYTES))
    left = body.size_bytes
    while left:
        try:
            count = body.stream.readinto(piece[: min(left, PIECE_BYTES)])
        except OSError as exc:
            raise FileUnreadable(f"the file cannot be read: {exc.strerror}") from exc
        if not count:
            raise FileChanged
        sock.sendall(piece[:count])
        left -= count
        body.sent(count)
        if left and _answered(answer, 0):
            return


def _answered(answer: Answer, seconds: float) -> bool:
    """Whether the final answer begins within `seconds`; ``100 Continue`` is read and ends the wait."""
    return answer.has_come(seconds) and not answer.is_interim()


def _begin_left(answer: Answer, sock: socket.socket, why: OSError) -> None:
    sock.settimeout(LEFT_SECONDS)
    try:
        answer.begin()
    except ssl.SSLEOFError:
        raise why from None
    except ssl.SSLError:
        # An alert says more than the broken pipe that came of it.
        raise
    except (OSError, http.client.HTTPException):
        raise why from None

"""The body of a request: counted, bounded, and never believed to be whole because it ended.

gunicorn's reader gives fewer bytes and no exception when a Content-Length body is cut short, and several
exceptions of its own when a chunked one is; here both are errors by name.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, TypeVar

from flask import Response
from gunicorn.http.errors import ParseException
from werkzeug.wrappers import Request

from cis490_receiver.errors import BodyMalformed, BodyTimeout, BodyTruncated, EpisodeTooLarge
from cis490_receiver.policy.headers import body_length
from cis490_receiver.serving.direct import DirectStream

#: A body up to this size is on its way as a whole before its head is judged.
SMALL_BODY_BYTES: Final = 64 * 1024
#: An unread body of fewer bytes is left to the server, which drains it and keeps the connection (`_DRAIN_MAX_BYTES` of
#: gunicorn's parser); at so many it gives up.
_LEFT_TO_SERVER_BYTES: Final = 64 * 1024
#: What is read of a refused body so that its sender gets to read the answer.
DRAIN_BYTES: Final = 64 << 20
DRAIN_SECONDS: Final = 10.0
_SLOW_BYTES_PER_SECOND: Final = 1 << 20
_DRAIN_STEP: Final = 256 * 1024
#: How often the free space is looked at again while a body streams.
_CHECK_SPACE_BYTES: Final = 64 << 20
_ENVIRON_KEY: Final = "cis490.body"
#: How many bytes are drained at most in how many seconds, where that is not as usual.
_DRAIN_KEY: Final = "cis490.drain"
#: What is read at once of the chunked body of an upload in pieces: what is cut off with it is lost.
_PIECE_STEP: Final = 64 * 1024


class RequestBody:
    """A body as `ingest.Body`."""

    def __init__(
        self,
        stream: IO[bytes],
        length: int | None,
        limit: int,
        *,
        connection: Any = None,
        direct: DirectStream | None = None,
        sender_waits: bool = False,
        check_space: Callable[[], None] = lambda: None,
        count_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Read `stream`, by way of `direct` where there is one. `length` is what Content-Length announced,
        None for a chunked body, of which at most `limit` bytes are taken. With `sender_waits` nothing is sent before
        the first read. `check_space` is asked every 64 MiB and may raise. `count_bytes` is told what comes."""
        self._stream = stream
        self._connection = connection
        self._direct = direct
        self._length = length
        self._limit = limit
        self._check_space = check_space
        self._count_bytes = count_bytes
        self._checked_at = 0
        self._ended = False
        self._sender_waits = sender_waits
        #: What was read and not given out yet.
        self._peeked = memoryview(b"")
        self.received = 0

    @property
    def complete(self) -> bool:
        """Whether nothing of the body is left unread."""
        return self._ended or self.received == self._length

    def readinto(self, buffer: memoryview) -> int:
        """See `ingest.Body.readinto`."""
        count = min(len(buffer), len(self._peeked))
        if count == 0:
            return self._take(buffer)
        buffer[:count] = self._peeked[:count]
        self._peeked = self._peeked[count:]
        return count

    def peek_small(self) -> bytes | None:
        """See `ingest.Body.peek_small`. Of a chunked body, one byte more than a small one's is read at most."""
        size = SMALL_BODY_BYTES if self._length is None else self._length
        if self._sender_waits or size == 0 or size > SMALL_BODY_BYTES:
            return None
        buffer = memoryview(bytearray(size + 1))
        filled = 0
        while filled < len(buffer) and (count := self._take(buffer[filled:])) > 0:
            filled += count
        self._peeked = buffer[:filled]
        return bytes(self._peeked) if filled <= size else None

    def _take(self, buffer: memoryview) -> int:
        """The next bytes of the stream into `buffer`; 0 at its end, once and again."""
        if self._ended:
            return 0
        wanted = len(buffer)
        if self._length is not None:
            wanted = min(wanted, self._length - self.received)
            if wanted == 0:
                return 0
        count = self._read(buffer[:wanted])
        if count == 0:
            if self._length is not None:
                raise BodyTruncated(None, received_bytes=self.received, expected_bytes=self._length)
            self._ended = True
        self._count(count)
        return count

    def _count(self, count: int) -> None:
        self.received += count
        self._count_bytes(count)
        if self.received > self._limit:
            raise EpisodeTooLarge(None, max_episode_bytes=self._limit)
        if self.received - self._checked_at >= _CHECK_SPACE_BYTES:
            self._checked_at = self.received
            self._check_space()

    def _read(self, buffer: memoryview) -> int:
        try:
            if self._direct is not None:
                return self._direct.readinto(buffer)
            data = self._stream.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        except TimeoutError as exc:
            raise BodyTimeout from exc
        except ParseException as exc:
            raise BodyMalformed from exc
        except OSError as exc:
            raise BodyTruncated(None, received_bytes=self.received) from exc


class PieceBody(RequestBody):
    """A body as `resumable.piece.Piece`: what has come is given soon, and silence is told of."""

    @property
    def length(self) -> int | None:
        """See `resumable.piece.Piece.length`."""
        return self._length

    def readinto(self, buffer: memoryview) -> int:
        """See `resumable.piece.Piece.readinto`."""
        return super().readinto(buffer if self._direct is not None else buffer[:_PIECE_STEP])

    def on_silence(self, tell: Callable[[float], None]) -> None:
        """See `resumable.piece.Piece.on_silence`. Another server than ours tells of none."""
        if hasattr(self._connection, "on_silence"):
            self._connection.on_silence = tell


_Body = TypeVar("_Body", bound=RequestBody)


def piece_body(request: Request, limit: int, count_bytes: Callable[[int], None]) -> PieceBody:
    """The body of `request` as the bytes of an upload in pieces, of which at most `limit` may come.

    Raises:
        LengthRequired, BadContentLength, EpisodeTooLarge: as `body_length`.
    """
    return _make(PieceBody, request, body_length(request.headers, limit), limit, lambda: None, count_bytes)


def drain_patiently(request: Request, length: int) -> None:
    """The answer to `request` comes before its body has; read up to `length` bytes of that behind it, so that a client
    which sends it to its end reads the answer."""
    request.environ[_DRAIN_KEY] = (length, DRAIN_SECONDS + length / _SLOW_BYTES_PER_SECOND)


def request_body(
    request: Request,
    length: int | None,
    limit: int,
    check_space: Callable[[], None] = lambda: None,
    count_bytes: Callable[[int], None] = lambda count: None,
) -> RequestBody:
    """The body of `request`; see `RequestBody`."""
    return _make(RequestBody, request, length, limit, check_space, count_bytes)


def _make(
    kind: type[_Body],
    request: Request,
    length: int | None,
    limit: int,
    check_space: Callable[[], None],
    count_bytes: Callable[[int], None],
) -> _Body:
    connection = request.environ.get("gunicorn.socket")
    direct = DirectStream.over(request.environ["wsgi.input"], connection)
    waits = "HTTP_EXPECT" in request.environ
    body = kind(
        request.stream,
        length,
        limit,
        connection=connection,
        direct=direct,
        sender_waits=waits,
        check_space=check_space,
        count_bytes=count_bytes,
    )
    request.environ[_ENVIRON_KEY] = body
    return body


def read_whole(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes.

    Raises:
        EpisodeTooLarge: it is larger.
        ReceiverError: it is cut short, malformed or too slow.
    """
    body = request_body(request, body_length(request.headers, limit), limit, lambda: None)
    buffer = bytearray(64 * 1024)
    pieces = []
    while (count := body.readinto(memoryview(buffer))) > 0:
        pieces.append(bytes(buffer[:count]))
    return b"".join(pieces)


def spare_the_answer(request: Request, response: Response) -> Response:
    """Answer a request whose body was not read to its end so that the answer arrives.

    A large body is still being sent when its refusal is ready; closing the connection then would destroy
    the answer on its way (RFC 9112 §9.6). So the answer goes out first, and the body is read and thrown
    away behind it, within limits, before the connection closes. A proxy (on a unix socket there is one)
    stops taking its client's body when the answer has ended, so the answer's last byte waits for that. A
    small body is left to the server, which drains it and keeps the connection. A client that waits for
    ``100 Continue`` sends nothing before the connection closes, so there is nothing to drain.
    """
    body: RequestBody | None = request.environ.get(_ENVIRON_KEY)
    if body is not None and body.complete:
        return response
    stream = request.environ["wsgi.input"]
    connection = request.environ.get("gunicorn.socket")
    waits = bool(getattr(connection, "continue_owed", False))
    failed = bool(getattr(stream, "failed", False))
    if not (waits or failed) and _is_left_to_server(request):
        return response
    close = getattr(stream, "force_close", None)
    if close is not None:
        close()
    if not (waits or failed or response.is_streamed):
        start_drain = getattr(connection, "start_drain", None)
        bytes_left, seconds = request.environ.get(_DRAIN_KEY, (DRAIN_BYTES, DRAIN_SECONDS))
        if start_drain is not None:
            start_drain(seconds)
        proxied = getattr(connection, "family", None) == socket.AF_UNIX
        drain = functools.partial(_drain, stream, bytes_left, seconds)
        if response.status_code == 204:
            return _EmptyAnswer(_around_drain(drain, None if proxied else connection), 204, response.headers)
        answer = response.get_data()
        response.response = _answer_around_drain(answer, len(answer) - 1 if proxied else len(answer), drain)
        response.content_length = len(answer)
    return response


def _is_left_to_server(request: Request) -> bool:
    if "HTTP_TRANSFER_ENCODING" in request.environ:
        return False
    length = request.environ.get("CONTENT_LENGTH") or "0"
    return length.isdecimal() and len(length) < 9 and int(length) < _LEFT_TO_SERVER_BYTES


class _EmptyAnswer(Response):
    """An answer that has a head alone, and something to be done behind it."""

    def get_app_iter(self, environ: Any) -> Iterator[bytes]:
        """See `Response.get_app_iter`, which drops what an answer without a body iterates over."""
        return self.iter_encoded()


def _around_drain(drain: Callable[[], None], connection: Any) -> Iterator[bytes]:
    """No bytes of an answer, whose head goes out on `connection` before the drain; behind it where that is None."""
    if connection is not None:
        yield b""
        connection.end_answer()
    drain()
    yield b""


def _answer_around_drain(answer: bytes, first: int, drain: Callable[[], None]) -> Iterator[bytes]:
    """The `first` bytes of `answer`, then what comes of the body, then the rest of the answer."""
    yield answer[:first]
    drain()
    if first < len(answer):
        yield answer[first:]


def _drain(stream: IO[bytes], left: int, seconds: float) -> None:
    """Read and throw away."""
    deadline = time.monotonic() + seconds
    # When reading fails, the answer is out and there is nobody left to tell.
    with contextlib.suppress(OSError, ParseException):
        while left > 0 and time.monotonic() < deadline:
            piece = stream.read(min(_DRAIN_STEP, left))
            if not piece:
                break
            left -= len(piece)

"""A client's connection, with an end to the server's patience."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cis490_receiver.config import Settings
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: A body's mean rate is not judged before this many seconds.
RATE_GRACE_SECONDS: Final = 30.0
#: How long a connection that we close waits for the client to close it too.
LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 1 << 20
_LINGER_STEP: Final = 64 * 1024
#: How long a client may leave the bytes of an answer unread.
SEND_SECONDS: Final = 60
#: The longest single wait for bytes.
_TICK_SECONDS: Final = 1
_Read = TypeVar("_Read", bytes, int)


class ClientSocket(socket.socket):
    """A client's connection that knows how long it may still keep a thread waiting.

    The limits are the kernel's (SO_RCVTIMEO, SO_SNDTIMEO in socket(7)), set once: a timeout of Python's own
    costs a poll(2) before each read and write, and an ioctl(2) whenever it changes.
    """

    def __init__(self, accepted: socket.socket, settings: Settings) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._settings = settings
        super().settimeout(None)
        self._limit_each(socket.SO_RCVTIMEO, _TICK_SECONDS)
        self._limit_each(socket.SO_SNDTIMEO, SEND_SECONDS)
        self._head_held: bytes | None = None
        self.start_head()

    def _limit_each(self, option: int, seconds: int) -> None:
        try:
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            # A 32-bit machine whose C library counts time in 64 bits.
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("qq", seconds, 0))

    def setblocking(self, flag: bool, /) -> None:
        """The server's wishes have no say in how long this connection may wait."""

    def settimeout(self, value: float | None, /) -> None:
        """Nor have these."""

    def start_head(self) -> None:
        """From here on the bytes of a request's head are awaited."""
        self._start("head", self._settings.head_seconds)

    def start_body(self, *, continue_owed: bool) -> None:
        """From here on the bytes of a body are awaited; with `continue_owed` the client sends none of
        them before it is told to. The next thing to be sent is the head of the answer."""
        self._start("body", self._settings.body_max_seconds)
        self.continue_owed = continue_owed
        self._head_held = b""

    def start_drain(self, seconds: float) -> None:
        """From here on bytes are read only to be thrown away, for `seconds` at most."""
        self._start("drain", seconds)

    def _start(self, phase: str, seconds: float) -> None:
        self._phase = phase
        self._started = time.monotonic()
        self._seconds = seconds
        self._received = 0
        #: Whether the client still waits for leave to send its body.
        self.continue_owed = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """recv(2), within the time that the client has left. A head that does not come in time is
        answered here and then looks like the connection's end.

        Raises:
            TimeoutError: the time ran out.
        """
        try:
            data = self._in_time(functools.partial(super().recv, size, flags))
        except TimeoutError:
            if self._phase != "head":
                raise
            self._refuse_slow_head()
            return b""
        self._received += len(data)
        return data

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        """`recv` into a buffer of the caller's."""
        count = self._in_time(functools.partial(super().recv_into, buffer, nbytes, flags))
        self._received += count
        return count

    def has_input(self, seconds: float) -> bool:
        """Whether there is something to read, or the end, within so many seconds."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        """sendall(2), within the time that a client has to take an answer's bytes. The answer's head
        waits for what follows, to leave with it."""
        if self._head_held == b"":
            self._head_held = data
            return
        if self._head_held:
            data, self._head_held = self._head_held + data, None
        self._send(data)

    def end_answer(self) -> None:
        """Send a head that nothing followed."""
        held, self._head_held = self._head_held, None
        if held:
            self._send(held)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """sendfile(2); the limit is on each pause, not on the whole file."""
        self.end_answer()
        super().settimeout(SEND_SECONDS)
        try:
            return super().sendfile(file, offset, count)
        finally:
            super().settimeout(None)

    def linger(self) -> None:
        """Let the client read its answer before the connection closes (RFC 9112 §9.6): end our side, and
        read what still comes, within limits. Done here, in a thread, because the server's own way of
        doing it would hold up its main loop; that finds nothing left to wait for."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            self.start_drain(LINGER_SECONDS)
            while self._received < _LINGER_BYTES and self.recv(_LINGER_STEP):
                pass
        self.start_drain(0)

    def _in_time(self, read: Callable[[], _Read]) -> _Read:
        if self.continue_owed:
            self.continue_owed = False
            self._send(_CONTINUE)
        limit = self._limit()
        while True:
            left = limit - time.monotonic()
            if left <= 0 or (left < _TICK_SECONDS and not self.has_input(left)):
                raise TimeoutError("the client is too slow")
            with contextlib.suppress(BlockingIOError):
                return read()

    def _send(self, data: bytes) -> None:
        sent = self._send_some(data)
        if sent == len(data):
            return
        view = memoryview(data)[sent:]
        deadline = time.monotonic() + SEND_SECONDS
        while view:
            if time.monotonic() > deadline:
                raise TimeoutError("the client does not take its answer")
            view = view[self._send_some(view) :]

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return super().send(data)
        except BlockingIOError as exc:
            raise TimeoutError("the client does not take its answer") from exc

    def _limit(self) -> float:
        """When the next read must have brought something, on the monotonic clock."""
        end = self._started + self._seconds
        if self._phase != "body":
            return end
        end = min(end, time.monotonic() + self._settings.body_idle_seconds)
        slowest = self._settings.body_min_bytes_per_second
        if slowest == 0:
            return end
        return min(end, self._started + RATE_GRACE_SECONDS + self._received / slowest)

    def _refuse_slow_head(self) -> None:
        if self._received:
            log.warning(event("slow-head", received=self._received))
            with contextlib.suppress(OSError):
                self._send(
                    json_response("408 Request Timeout", "head-timeout", "the request's head came too slowly")
                )


def json_response(status: str, code: str, message: str) -> bytes:
    """An error as the bytes of a whole response, for where there is no application."""
    body = json.dumps({"error": message, "code": code}).encode("ascii")
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body

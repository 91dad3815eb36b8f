"""What we ask of gunicorn beyond its gthread worker.

- Patience with an end. gthread has no read timeout, so a client that stalls would hold a thread for ever.
  Here every read is bounded: the head as a whole, a body by its longest pause, its mean rate and its total
  time.
- ``Expect: 100-continue`` for real. gunicorn answers it before the application runs, which invites a
  body that may be refused; here the interim answer leaves with the first read of the body (RFC 9110
  §10.1.1).
- Errors that a client's HTTP library can read: gunicorn's own refusals are HTML, ours are JSON.

The application meets all this as `ClientSocket`, in ``environ["gunicorn.socket"]``; under another server the
plain path goes without.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import queue
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import _DEFER, DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

from cis490_receiver.config import Settings
from cis490_receiver.logfmt import event, quoted

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
#: How long a thread stays with a connection for its next request, as long as there are threads to spare.
STAY_SECONDS: Final = 0.05
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
                    _answer("408 Request Timeout", "head-timeout", "the request's head came too slowly")
                )


def let_stop_reach_new_workers() -> None:
    """See to it that a worker that is told to stop before it listens for that stops.

    A forked worker has the master's signal handlers until it installs its own. A SIGTERM in between lands
    in the master's handler, in the wrong process, and is lost: the master then waits for the worker for
    the whole graceful timeout. Here the signal's default action, which ends the worker, is in force from its
    first moment on.
    """
    stops = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, stops)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)

    def reset_and_unblock() -> None:
        for number in stops:
            signal.signal(number, signal.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset_and_unblock)


class Worker(ThreadWorker):
    """gunicorn's gthread worker on `ClientSocket` connections."""

    #: Set by etc/gunicorn.conf.py before the workers are forked.
    settings: Settings

    @property
    def worker_connections(self) -> int:
        """How many connections the worker may have before it stops accepting: as many as it has threads for,
        beside those that wait for their client and need none. So what a busy worker cannot serve is left
        to the others, and does not queue behind its slow uploads.
        """
        idle = len(self.keepalived_conns) + len(self.pending_conns)
        return min(int(self.cfg.worker_connections), int(self.cfg.threads) + idle)

    @worker_connections.setter
    def worker_connections(self, value: int) -> None:
        """Gunicorn sets it to what the configuration says, which is looked up above."""

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the main loop. Requests that ended are seen to even when the byte that should have said
        so was lost: a worker that takes them for busy would accept nobody any more."""
        super().wait_for_and_dispatch_events(timeout)
        with contextlib.suppress(queue.Empty):
            while True:
                self.method_queue._queue.get_nowait()()

    def handle(self, conn: TConn) -> Any:
        """Serve the requests of a connection that come one upon the other; runs in a thread."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(conn.sock, self.settings)
        if not conn.initialized:
            if not conn.sock.has_input(0):
                # A connection that says nothing yet waits in the poller, not in a thread.
                return _DEFER
            conn.data_ready = True
        while True:
            conn.sock.start_head()
            kept = super().handle(conn)
            if kept is False:
                conn.sock.linger()
            if kept is not True or not self._may_stay(conn):
                return kept

    def _may_stay(self, conn: TConn) -> bool:
        """Whether this thread goes on with the connection's next request, because it is there or comes at once.
        That spares the way through the main loop, which costs as much as the request's own HTTP."""
        busy = self.nr_conns - len(self.keepalived_conns) - len(self.pending_conns)
        if busy >= int(self.cfg.threads) or not self.alive:
            return False
        if conn.parser.unreader.buf.getvalue():
            return True
        return bool(conn.sock.has_input(STAY_SECONDS)) and self.alive

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Hand a request whose head was read to the application."""
        conn.sock.start_body(continue_owed=req._expected_100_continue)
        req._expected_100_continue = False
        # For the application: `Connection` is the server's header, so this is how to ask for a close.
        req.body.force_close = req.force_close
        try:
            kept = super().handle_request(req, conn)
            conn.sock.end_answer()
            return kept
        finally:
            conn.sock.start_drain(DEFAULT_WORKER_DATA_TIMEOUT)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer a request that never reached the application, or that the application could not end."""
        if isinstance(exc, http_errors.ParseException):
            status, code, message = _describe(exc)
            # Its class alone: its text has what the client sent, a token among it.
            log.warning(event("bad-http", status=status, code=code, reason=type(exc).__name__))
        else:
            status, code, message = "500 Internal Server Error", "internal-error", "internal error"
            log.error("internal-error uri=%s", quoted(getattr(req, "uri", None)), exc_info=exc)
        with contextlib.suppress(OSError):
            client.sendall(_answer(status, code, message))
            if isinstance(client, ClientSocket):
                client.end_answer()


def _answer(status: str, code: str, message: str) -> bytes:
    body = json.dumps({"error": message, "code": code}).encode("ascii")
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def _describe(exc: http_errors.ParseException) -> tuple[str, str, str]:
    if isinstance(exc, http_errors.InvalidHeader) and getattr(exc, "hdr", None) == "CONTENT-LENGTH":
        return "400 Bad Request", "bad-content-length", "bad Content-Length"
    if isinstance(exc, http_errors.LimitRequestLine):
        return "414 URI Too Long", "uri-too-long", "the request line is too long"
    if isinstance(exc, http_errors.LimitRequestHeaders):
        return "431 Request Header Fields Too Large", "headers-too-large", "the headers are too large"
    if isinstance(exc, http_errors.ExpectationFailed):
        return "417 Expectation Failed", "expectation-failed", "only Expect: 100-continue is understood"
    return "400 Bad Request", "bad-http", "this is not a request that HTTP/1.1 allows"

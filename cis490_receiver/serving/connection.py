"""A client's connection, with an end to the server's patience."""

from __future__ import annotations

import contextlib
import errno
import functools
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cis490_receiver.config import Settings
from cis490_receiver.serving.head import Head, judge

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: A body's mean rate is not judged before this many seconds.
RATE_GRACE_SECONDS: Final = 30.0
#: A body is not too slow for a crowded receiver before this many seconds.
CROWD_GRACE_SECONDS: Final = 1.0
#: What is read at once of what is thrown away.
_DISCARD_BYTES: Final = 64 * 1024
#: What is read at once of a head, and of the body behind it.
_HEAD_STEP: Final = 8192
#: How long a client may leave the bytes of an answer unread.
SEND_SECONDS: Final = 60
#: The longest single wait for bytes; so soon a thread notices that its connection is to give way.
_TICK_SECONDS: Final = 0.5
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
        self._head_held: bytes | None = None
        self.start_head(b"")

    def limit_waits(self) -> None:
        """Set the kernel's limits, before a thread uses the connection."""
        self._limit_each(socket.SO_RCVTIMEO, _TICK_SECONDS)
        self._limit_each(socket.SO_SNDTIMEO, SEND_SECONDS)

    def _limit_each(self, option: int, seconds: float) -> None:
        whole, micros = int(seconds), int(seconds % 1 * 1_000_000)
        try:
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, micros))
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            # A 32-bit machine whose C library counts time in 64 bits.
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("qq", whole, micros))

    def setblocking(self, flag: bool, /) -> None:
        """The server's wishes have no say in how long this connection may wait."""

    def settimeout(self, value: float | None, /) -> None:
        """Nor have these."""

    def start_head(self, ahead: bytes) -> None:
        """From here on the head of the next request is collected; `ahead` was read of it already."""
        self._start("head", 0)
        self._must_give_way = False
        self._ahead = ahead

    def collect_head(self) -> Head:
        """Take what has come of the head, without waiting for more; how far it is now."""
        state = judge(self._ahead)
        while state in (Head.SILENT, Head.BEGUN):
            try:
                data = super().recv(_HEAD_STEP, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                return Head.ENDED
            self._ahead = self._ahead + data if self._ahead else data
            state = judge(self._ahead, ended=not data)
        return state

    @property
    def head_bytes(self) -> int:
        """How much of the head has come."""
        return len(self._ahead)

    def start_body(self, *, continue_owed: bool) -> None:
        """From here on the bytes of a body are awaited; with `continue_owed` the client sends none of
        them before it is told to. The next thing to be sent is the head of the answer."""
        self._start("body", self._settings.body_max_seconds)
        self._must_give_way = False
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
        self._reading = False
        #: Whether the client still waits for leave to send its body.
        self.continue_owed = False
        #: Told, twice a second, for how many seconds a client has said nothing that a thread waits for. What it raises
        #: ends the wait.
        self.on_silence: Callable[[float], None] | None = None

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """recv(2), within the time that the client has left. Of a head it gives what was collected, however
        much that is, and then the end: a head that a thread has needs no further byte.

        Raises:
            TimeoutError: the time ran out.
        """
        if self._phase == "head":
            data, self._ahead = self._ahead, b""
            return data
        data = self._in_time(functools.partial(super().recv, size, flags))
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

    def send_now(self, answer: bytes) -> None:
        """Send what can be sent of `answer` without waiting."""
        with contextlib.suppress(OSError):
            super().send(answer, socket.MSG_DONTWAIT)

    def end_our_side(self) -> None:
        """Nothing more will be sent, and what still comes is thrown away."""
        self.start_drain(0)
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_WR)

    def discard(self, limit: int) -> bool:
        """Throw away what has come, without waiting for more. Whether more may come: the client has not ended its
        side, and `limit` bytes have not been thrown away yet."""
        try:
            count = len(super().recv(_DISCARD_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._received += count
        return count > 0 and self._received < limit

    def crowding_rate(self) -> float | None:
        """The mean rate in bytes a second at which a thread receives a body that it waits for right now, once there
        was some time to judge it; None when the thread does something else."""
        seconds = time.monotonic() - self._started
        if not self._reading or self._must_give_way or seconds < CROWD_GRACE_SECONDS:
            return None
        return self._received / seconds

    @property
    def gives_way(self) -> bool:
        """Whether it was told to."""
        return self._must_give_way

    def give_way(self) -> None:
        """Soon, the thread that waits for this client's bytes is told that the time ran out."""
        self._must_give_way = True

    def _in_time(self, read: Callable[[], _Read]) -> _Read:
        if self.continue_owed:
            self.continue_owed = False
            self._send(_CONTINUE)
        limit = self._limit()
        began = time.monotonic()
        self._reading = True
        try:
            while True:
                left = limit - time.monotonic()
                if self._must_give_way or left <= 0 or (left < _TICK_SECONDS and not self.has_input(left)):
                    raise TimeoutError("the client is too slow")
                with contextlib.suppress(BlockingIOError):
                    return read()
                if self.on_silence is not None:
                    self.on_silence(time.monotonic() - began)
        finally:
            self._reading = False

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

"""Many small GETs of one receiver, several at once, by one thread of its own.

A thread for each would spend more on handing Python's lock around than on reading. What does not go smoothly is given
up: whoever asked asks again in the ordinary way, which knows about retries and tells what is wrong.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import selectors
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cis490_receiver.http_client.connection import connect
from cis490_receiver.http_client.endpoint import Endpoint
from cis490_receiver.http_client.exchange import head_of
from cis490_receiver.http_client.failures import TransportFailed
from cis490_receiver.http_client.head import read_head

_PIECE_BYTES: Final = 1 << 16
_TICK_SECONDS: Final = 1.0
_NOT_YET: Final = (BlockingIOError, ssl.SSLWantReadError)
_FAILED: Final = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        path: of the receiver.
        size_bytes: how long the answer is known to be.
        done: told its bytes, or None where they did not come; called by the thread that reads.
    """

    path: str
    size_bytes: int
    done: Callable[[bytes | None], None]


class Many:
    """`connections` at most; `headers` go with each request. Ends with `close`."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], connections: int) -> None:
        self._endpoint = endpoint
        self._headers = dict(headers)
        self._most = connections
        self._wishes: deque[Wish] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Not before nobody can use it any more; where the program ends, the thread may still wait on it.
        weakref.finalize(self, os.close, self._wake).atexit = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="cis490-ahead", daemon=True)
        self._thread.start()

    def ask(self, wishes: list[Wish]) -> None:
        """Ask for these; each is told, in any order."""
        self._wishes.extend(wishes)
        os.eventfd_write(self._wake, 1)
        if not self._thread.is_alive():
            # As in a process that was forked off.
            self._give_up()

    def close(self) -> None:
        """Read no more. What was not read is told so; the thread ends soon."""
        self._is_closed = True
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            lanes: list[_Lane] = []
            try:
                while not self._is_closed:
                    self._start(lanes, selector)
                    for key, _ in selector.select(_TICK_SECONDS):
                        if key.data is None:
                            os.eventfd_read(self._wake)
                        elif key.data.read():
                            self._give_next(key.data)
                    for lane in [lane for lane in lanes if lane.is_over()]:
                        selector.unregister(lane.sock)
                        lanes.remove(lane)
                        lane.close()
            finally:
                for lane in lanes:
                    lane.close()
                self._is_closed = True
                self._give_up()

    def _give_up(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._wishes.popleft().done(None)

    def _start(self, lanes: list[_Lane], selector: selectors.BaseSelector) -> None:
        """Let each wish have a connection, as long as there are any."""
        for lane in lanes:
            if lane.is_free:
                self._give_next(lane)
        while self._wishes and len(lanes) < self._most:
            try:
                lane = _Lane(connect(self._endpoint), self._endpoint)
            except TransportFailed:
                # Whoever asks again is told why.
                self._wishes.popleft().done(None)
                return
            lanes.append(lane)
            selector.register(lane.sock, selectors.EVENT_READ, lane)
            self._give_next(lane)

    def _give_next(self, lane: _Lane) -> None:
        if self._wishes:
            lane.ask(self._wishes.popleft(), self._headers)


class _Lane:
    """One connection, and what is read over it."""

    def __init__(self, connection: http.client.HTTPConnection, endpoint: Endpoint) -> None:
        self.sock: socket.socket = connection.sock
        self.sock.setblocking(False)
        self._connection = connection
        self._endpoint = endpoint
        self._wish: Wish | None = None
        self._begun = bytearray()
        self._body: bytearray | None = None
        self._have = 0
        self._is_broken = self._closes = False
        self._deadline = 0.0

    @property
    def is_free(self) -> bool:
        """Whether something can be asked for."""
        return self._wish is None and not self._is_broken

    def is_over(self) -> bool:
        """Whether it is of no more use."""
        if self._wish is not None and time.monotonic() > self._deadline:
            self._is_broken = True
        return self._is_broken

    def ask(self, wish: Wish, headers: dict[str, str]) -> None:
        """Ask for `wish`."""
        self._wish = wish
        self._begun.clear()
        self._body, self._have = None, 0
        self._note_progress()
        request = head_of("GET", self._endpoint.path + wish.path, self._connection, headers, None)
        try:
            # It fits into the socket's buffer, which is empty.
            self._is_broken = self.sock.send(request) != len(request)
        except _FAILED:
            self._is_broken = True

    def read(self) -> bool:
        """Read what has come; gives whether something can be asked for next."""
        try:
            while self._read_piece() and isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
                pass
        except _NOT_YET:
            return False
        except (*_FAILED, ValueError):
            self._is_broken = True
        return self.is_free

    def close(self) -> None:
        """Close it; what was asked for did not come."""
        with contextlib.suppress(OSError):
            self._connection.close()
        if self._wish is not None:
            self._wish.done(None)

    def _read_piece(self) -> bool:
        """Read once; gives whether there is more to come.

        Raises:
            ValueError: the answer is not the one that was hoped for.
        """
        if self._wish is None:
            # Nothing was asked for: the server closes it.
            raise ConnectionError
        if self._body is None:
            piece = self.sock.recv(_PIECE_BYTES)
            self._begin(self._wish, piece)
            count = len(piece)
        else:
            count = self.sock.recv_into(memoryview(self._body)[self._have :])
            self._have += count
        if not count:
            raise ConnectionError
        self._note_progress()
        if self._body is None or self._have < self._wish.size_bytes:
            return True
        wish, self._wish = self._wish, None
        self._is_broken = self._closes
        wish.done(bytes(self._body))
        return False

    def _begin(self, wish: Wish, piece: bytes) -> None:
        self._begun += piece
        end = self._begun.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(self._begun) > _PIECE_BYTES:
                raise ValueError
            return
        head = read_head(io.BytesIO(self._begun[:end]))
        rest = len(self._begun) - end
        if head.status != 200 or head.length("GET") != wish.size_bytes or rest > wish.size_bytes:
            raise ValueError
        self._closes = head.closes
        self._body, self._have = bytearray(wish.size_bytes), rest
        self._body[:rest] = self._begun[end:]

    def _note_progress(self) -> None:
        self._deadline = time.monotonic() + self._endpoint.idle_seconds

"""Where connections wait for their client: in the main loop, at no cost of a thread."""

from __future__ import annotations

import contextlib
import functools
import logging
import selectors
import time
from collections.abc import Callable
from typing import Any, Final

from cis490_receiver.logfmt import event
from cis490_receiver.serving.head import Head
from cis490_receiver.serving.refusals import HEAD_TIMEOUT, HEADERS_TOO_LARGE, Refusal, json_response
from cis490_receiver.serving.waiting import Wait, WaitingRoom

log = logging.getLogger(__name__)

#: How long a connection that we close waits for the client to close it too, and for how many bytes.
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1 << 20


class Lobby:
    """Collects the heads of requests, and sees out who leaves. For the main loop alone."""

    def __init__(self, head_seconds: float, serve: Callable[[Any], None], closed: Callable[[], None]) -> None:
        """Of each connection whose next head is whole, `serve` is told; of each that was closed, `closed`."""
        self._head_seconds = head_seconds
        self._serve = serve
        self._closed = closed
        self._room = WaitingRoom()
        self._poller: selectors.BaseSelector

    def open(self, poller: selectors.BaseSelector) -> None:
        """Use the main loop's `poller`, which calls what is registered with a file object."""
        self._poller = poller

    def admit(self, conn: Any, wait: Wait, seconds: float) -> None:
        """Let `conn` wait until its next head is whole, which it may be already; for `seconds` until it begins, and
        then for `head_seconds`."""
        state = conn.sock.collect_head()
        if state in (Head.SILENT, Head.BEGUN):
            self._watch(conn)
        self._room.put(conn, wait, seconds)
        self._go_on(conn, state)

    def see_out(self, conn: Any) -> None:
        """Let the client read its answer before the connection closes (RFC 9112 §9.6): end our side, and read what
        still comes, within limits, until it ends its own."""
        conn.sock.end_our_side()
        if not conn.sock.discard(LINGER_BYTES):
            self._close(conn)
            return
        self._watch(conn)
        self._room.put(conn, Wait.LINGER, LINGER_SECONDS)

    def make_room(self) -> bool:
        """Close the connection that can be missed most easily; False when none waits here."""
        while (conn := self._room.oldest()) is not None:
            if self._room.wait_of(conn) in (Wait.SILENT, Wait.KEPT):
                state = conn.sock.collect_head()
                if state is not Head.SILENT:
                    # It has spoken since the main loop last looked.
                    self._go_on(conn, state)
                    continue
            self._close(conn)
            return True
        return False

    def see_to_deadlines(self) -> None:
        """Close what waited for too long."""
        for conn, wait in self._room.expired(time.monotonic()):
            if wait is Wait.HEAD:
                log.warning(event("slow-head", received=conn.sock.head_bytes))
                self._refuse(conn, HEAD_TIMEOUT)
            else:
                self._close(conn)

    def hurry(self, deadline: float) -> None:
        """Let none wait beyond `deadline` for a request that has not begun."""
        self._room.hurry(deadline)

    def close(self) -> None:
        """Close every connection that waits."""
        for conn in self._room.all():
            self._close(conn)

    def _watch(self, conn: Any) -> None:
        self._poller.register(conn.sock, selectors.EVENT_READ, functools.partial(self._on_readable, conn))

    def _on_readable(self, conn: Any, _socket: object) -> None:
        if conn not in self._room:
            # It gave way within this turn.
            return
        if self._room.wait_of(conn) is not Wait.LINGER:
            self._go_on(conn, conn.sock.collect_head())
        elif not conn.sock.discard(LINGER_BYTES):
            self._close(conn)

    def _go_on(self, conn: Any, state: Head) -> None:
        if state is Head.WHOLE:
            self._leave(conn)
            self._serve(conn)
        elif state is Head.ENDED:
            self._close(conn)
        elif state is Head.TOO_LARGE:
            log.warning(event("bad-http", status=HEADERS_TOO_LARGE.status, code=HEADERS_TOO_LARGE.code))
            self._refuse(conn, HEADERS_TOO_LARGE)
        elif state is Head.BEGUN and self._room.wait_of(conn) is not Wait.HEAD:
            self._room.put(conn, Wait.HEAD, self._head_seconds)

    def _refuse(self, conn: Any, refusal: Refusal) -> None:
        """Answer a head that no thread will see."""
        self._leave(conn)
        conn.sock.send_now(json_response(refusal))
        self.see_out(conn)

    def _leave(self, conn: Any) -> None:
        self._room.remove(conn)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._poller.unregister(conn.sock)

    def _close(self, conn: Any) -> None:
        self._leave(conn)
        conn.close()
        self._closed()

"""What we ask of gunicorn beyond its gthread worker.

- Threads for requests alone. gthread gives a thread to a connection that says nothing yet, to a head that comes byte by
  byte, and to a client that does not close its side; a few hundred of those would lock everybody out. Here they wait in
  the main loop.
- Patience with an end. gthread has no read timeout, so a client that stalls would hold a thread for ever.
  Here every wait is bounded: for a head as a whole, for a body by its longest pause, its mean rate and its total
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
import logging
import queue
import socket
import time
from typing import Any, Final

from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from cis490_receiver.config import Settings
from cis490_receiver.logfmt import event, quoted
from cis490_receiver.serving.connection import ClientSocket
from cis490_receiver.serving.head import Head
from cis490_receiver.serving.lobby import Lobby
from cis490_receiver.serving.refusals import INTERNAL_ERROR, describe, json_response
from cis490_receiver.serving.share import ThreadShare
from cis490_receiver.serving.waiting import Wait

log = logging.getLogger(__name__)

#: How long a thread stays with a connection for its next request, as long as there are threads to spare.
STAY_SECONDS: Final = 0.05
#: So few at a time that several workers share a burst of new connections.
ACCEPT_AT_ONCE: Final = 4
#: How much later than others a worker without a thread to spare accepts.
LATE_SECONDS: Final = 0.1
#: How often it is logged that something gave way.
WARN_SECONDS: Final = 60.0


class Worker(ThreadWorker):
    """gunicorn's gthread worker on `ClientSocket` connections.

    Its main loop alone accepts, collects heads, and sees connections out; a thread has a connection from a whole head
    to the end of the answer. When there are too many connections, the one that can be missed most easily gives way
    (see `Wait`); when there are too few threads, the bodies that come most slowly do.
    """

    #: Set by `gunicorn_conf` before the workers are forked.
    settings: Settings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lobby = Lobby(self.settings.head_seconds, self.enqueue_req, self._count_closed)
        self._share = ThreadShare(int(self.cfg.threads))
        self._relief_at = 0.0
        self._warned_at: dict[str, float] = {}

    # What gunicorn's main loop asks.

    def run(self) -> None:
        """The main loop, whose poller exists by now."""
        self._lobby.open(self.poller)
        super().run()

    @property
    def worker_connections(self) -> int:
        """Gunicorn accepts while it has fewer connections than this: as long as there is a thread to spare. So
        what a busy worker cannot serve is left to the others, and does not queue behind its uploads."""
        return int(self.nr_conns) + (not self._share.crowded)

    @worker_connections.setter
    def worker_connections(self, value: int) -> None:
        """Gunicorn sets it to what the configuration says, which is looked up where it counts."""

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the main loop. Requests that ended are seen to even when the byte that should have said
        so was lost: a worker that takes them for busy would accept nobody any more."""
        if self._share.crowded:
            timeout = min(timeout, LATE_SECONDS)
        super().wait_for_and_dispatch_events(timeout)
        with contextlib.suppress(queue.Empty):
            while True:
                self.method_queue._queue.get_nowait()()
        if self._share.crowded:
            self._relieve()
        else:
            self._relief_at = time.monotonic() + LATE_SECONDS

    def murder_keepalived(self, force: bool = False) -> None:
        """Close every connection that waits, when the worker ends."""
        if force:
            self._lobby.close()

    def murder_pending(self) -> None:
        """See to the connections that waited for too long."""
        self._lobby.see_to_deadlines()

    def _cap_keepalive(self, deadline: float) -> None:
        """Called by gunicorn when the worker is to stop: requests that have not begun need not hold it up."""
        self._lobby.hurry(deadline)

    # From accept(2) to a thread.

    def accept(self, listener: Any, count: int = ACCEPT_AT_ONCE) -> None:
        """Take up to `count` new connections."""
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            for _ in range(count):
                self._accept_one(listener)

    def _accept_one(self, listener: Any) -> None:
        try:
            client, address = listener.accept()
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            if not self._make_room():
                # Nothing to be done but to wait for a request's end.
                time.sleep(LATE_SECONDS)
            raise BlockingIOError from exc
        self.nr_conns += 1
        if self.nr_conns > int(self.cfg.worker_connections):
            self._make_room()
        conn = TConn(self.cfg, ClientSocket(client, self.settings), address, listener.getsockname())
        # What gunicorn waits for in a thread has been waited for here.
        conn.data_ready = True
        self._lobby.admit(conn, Wait.SILENT, self.settings.head_seconds)

    def enqueue_req(self, conn: TConn) -> None:
        """Let a thread serve `conn`, as soon as there is one."""
        if self._share.take(conn):
            super().enqueue_req(conn)

    # From a thread to the end.

    def finish_request(self, conn: TConn, future: Any) -> None:
        """A thread is done with `conn`; runs in the main loop."""
        following = self._share.free(conn)
        if following is not None:
            super().enqueue_req(following)
        kept = not future.cancelled() and future.exception() is None and future.result()
        if kept:
            seconds = float(self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
            self._lobby.admit(conn, Wait.KEPT, seconds)
        else:
            self._lobby.see_out(conn)

    def _count_closed(self) -> None:
        self.nr_conns -= 1

    # When there is not enough for all.

    def _make_room(self) -> bool:
        """Close the connection that can be missed most easily; False when every one has a thread."""
        self._warn("too-many-connections", connections=self.nr_conns)
        return self._lobby.make_room()

    def _relieve(self) -> None:
        """All threads are taken. As many new connections as could have the threads of bodies that come too slowly are
        accepted, late enough that another worker with threads to spare would have had them."""
        now = time.monotonic()
        if now < self._relief_at:
            return
        self._relief_at = now + LATE_SECONDS
        if self.alive:
            for listener in self.sockets:
                self.accept(listener, self._share.room())
        if self._share.waiting:
            self._warn("too-few-threads", threads=self.cfg.threads)
            self._share.relieve()

    def _warn(self, name: str, **fields: object) -> None:
        """Log that something gave way, once in a while."""
        now = time.monotonic()
        if now >= self._warned_at.get(name, now):
            self._warned_at[name] = now + WARN_SECONDS
            log.warning(event(name, **fields))

    # In a thread.

    def handle(self, conn: TConn) -> Any:
        """Serve the requests of a connection that come one upon the other; runs in a thread."""
        if not conn.initialized:
            conn.sock.limit_waits()
        while True:
            kept = super().handle(conn)
            if kept is not True:
                return kept
            conn.sock.start_head(conn.parser.unreader.take_buffered())
            if not self._may_stay(conn):
                return kept

    def _may_stay(self, conn: TConn) -> bool:
        """Whether this thread goes on with the connection's next request, because it is there or comes at once.
        That spares the way through the main loop, which costs as much as the request's own HTTP."""
        if self._share.crowded or not self.alive:
            return False
        state = conn.sock.collect_head()
        if state is Head.SILENT and conn.sock.has_input(STAY_SECONDS):
            state = conn.sock.collect_head()
        return state is Head.WHOLE and self.alive

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
            refusal = describe(exc)
            # Its class alone: its text has what the client sent, a token among it.
            log.warning(
                event("bad-http", status=refusal.status, code=refusal.code, reason=type(exc).__name__)
            )
        else:
            refusal = INTERNAL_ERROR
            log.error("internal-error uri=%s", quoted(getattr(req, "uri", None)), exc_info=exc)
        with contextlib.suppress(OSError):
            client.sendall(json_response(refusal))
            if isinstance(client, ClientSocket):
                client.end_answer()

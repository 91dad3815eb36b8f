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
import logging
import os
import queue
import signal
import socket
from typing import Any, Final

from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import _DEFER, DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

from cis490_receiver.config import Settings
from cis490_receiver.logfmt import event, quoted
from cis490_receiver.serving.connection import ClientSocket, json_response

log = logging.getLogger(__name__)

#: How long a thread stays with a connection for its next request, as long as there are threads to spare.
STAY_SECONDS: Final = 0.05


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

    def _cap_keepalive(self, deadline: float) -> None:
        """Called by gunicorn when the worker is to stop. Connections that never said anything need not hold it up any
        longer than those that are kept alive."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

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
            client.sendall(json_response(status, code, message))
            if isinstance(client, ClientSocket):
                client.end_answer()


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

"""What we rely on of gunicorn beyond its documentation: the names that an upgrade may take away.

`tests/serving/test_relied_on.py` looks for each of them in the gunicorn that is installed.
"""

from __future__ import annotations

from typing import Final

#: Class or module of gunicorn, and the names in it: methods that we override or call, and attributes.
NAMES: Final = {
    "gunicorn.workers.gthread": ("DEFAULT_WORKER_DATA_TIMEOUT", "STOP_KEEPALIVE_LINGER"),
    "gunicorn.workers.gthread:ThreadWorker": (
        "_cap_keepalive",
        "accept",
        "alive",
        "cfg",
        "enqueue_req",
        "finish_request",
        "handle",
        "handle_error",
        "handle_request",
        "method_queue",
        "murder_keepalived",
        "murder_pending",
        "nr_conns",
        "poller",
        "run",
        "sockets",
        "wait_for_and_dispatch_events",
        "worker_connections",
    ),
    # What its method_queue is.
    "gunicorn.workers.gthread:PollableMethodQueue": ("_queue",),
    "gunicorn.workers.gthread:TConn": ("close", "data_ready", "initialized", "parser", "sock"),
    "gunicorn.http.message:Request": ("_expected_100_continue", "force_close", "unreader"),
    "gunicorn.http.body:Body": ("buf", "failed", "reader"),
    "gunicorn.http.body:LengthReader": ("length", "unreader"),
    "gunicorn.http.body:ChunkedReader": ("buf", "parse_chunk_size", "parser", "req"),
    "gunicorn.http.unreader:Unreader": ("take_buffered", "unread"),
    "gunicorn.http.errors": (
        "ChunkMissingTerminator",
        "ExpectationFailed",
        "InvalidHeader",
        "LimitRequestHeaders",
        "LimitRequestLine",
        "NoMoreData",
        "ParseException",
    ),
}

"""Somebody between a trainer and a receiver who spoils what is sent, and counts what is asked for."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.receiver import Receiver

Change = Callable[[bytes], bytes]


class _Between(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Receiver
    #: What to do to the answers to GETs of episodes, one after the other; the last one to all that follow.
    plan: list[Change]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        sent = {
            name: self.headers[name] for name in ("Authorization", "Range", "If-Range") if self.headers[name]
        }
        answer = self.upstream.request("GET", self.path, headers=sent)
        body = answer.body
        if self.path.endswith(".tar.zst"):
            self.asked.append((self.path, self.headers["Range"]))
            body = (self.plan.pop(0) if len(self.plan) > 1 else self.plan[0])(body)
        self.send_response(answer.status)
        for name in ("Content-Type", "Content-Range", "ETag", "Repr-Digest"):
            if answer.headers[name]:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = len(body) != len(answer.body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def between(upstream: Receiver, *plan: Change) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The address of such a one, and what it was asked for: paths and ranges."""
    asked: list[tuple[str, str | None]] = []
    handler = type("Handler", (_Between,), {"upstream": upstream, "plan": list(plan), "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def flip(body: bytes) -> bytes:
    """One bit of it is another."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def flip_end(body: bytes) -> bytes:
    """One bit of its last byte is another, which nobody decodes: it is of the last frame's checksum or of padding."""
    return body[:-1] + bytes([body[-1] ^ 1])


def cut(body: bytes) -> bytes:
    """Its second half is missing."""
    return body[: len(body) // 2]


def whole(body: bytes) -> bytes:
    """As it is."""
    return body

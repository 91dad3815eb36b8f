"""A proxy before an object store that understands its requests, and answers them as a store that is sick."""

from __future__ import annotations

import hashlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

#: 500 to everything; no answer at all; requests and answers of which half comes; success that is not told; success of
#: what was not stored.
WAYS: Final = ("refuse", "hang", "cut", "lose the answer", "forget")
#: The same of the parts of an upload alone, which the store notices when they are to be put together.
FORGET_PARTS: Final = "forget the parts"
_HOP_BY_HOP: Final = frozenset({"connection", "transfer-encoding", "content-length"})
_COMPLETED: Final = (
    b"<CompleteMultipartUploadResult><ETag>&quot;%s-2&quot;</ETag></CompleteMultipartUploadResult>"
)


class SpoilingProxy:
    """Stands before the store at `port`, at `self.port`. `way` is one of `WAYS` or `FORGET_PARTS`; None passes all."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._way: str | None = None
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def way(self) -> str | None:
        return self._way

    @way.setter
    def way(self, way: str | None) -> None:
        with self._changed:
            self._way = way
            self._changed.notify_all()

    def wait_while(self, way: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._way != way)

    def close(self) -> None:
        self.way = None
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: SpoilingProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Of whoever went away meanwhile nobody needs to know."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _spoil(self) -> None:
        proxy, way = self.server.proxy, self.server.proxy.way
        if way == "hang":
            proxy.wait_while(way)
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if way == "refuse":
            self._answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
        elif self.command == "PUT" and (
            way == "forget" or (way == FORGET_PARTS and "partNumber=" in self.path)
        ):
            self._answer(200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b"")
        elif way == "forget" and self.command == "POST" and "uploadId=" in self.path:
            self._answer(200, {}, _COMPLETED % (b"0" * 32))
        elif way == "cut" and body:
            self._ask(body, len(body) // 2)
        else:
            self._pass(body, way)

    def _pass(self, body: bytes, way: str | None) -> None:
        answered = self._ask(body, len(body))
        if answered is None or (way == "lose the answer" and self.command in ("PUT", "POST")):
            self.close_connection = True
            return
        status, headers, content = answered
        self._answer(status, headers, content, cut=way == "cut" and self.command == "GET")

    def _ask(self, body: bytes, count: int) -> tuple[int, dict[str, str], bytes] | None:
        """The store's answer to the request with the first `count` bytes of `body`; None where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.proxy.target, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body[:count])
            if count < len(body):
                self.close_connection = True
                return None
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection |= cut

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _spoil  # noqa: N815 - names of the library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody reads it."""

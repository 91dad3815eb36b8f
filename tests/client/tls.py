"""A TLS server that ends TLS before a receiver: the least that shows how a client takes certificates."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.caddy import Certificate


class Terminator:
    """Accepts TLS on a free port of the loopback interface and passes plain bytes on to `upstream`."""

    def __init__(self, server: Certificate, client_ca: Path | None, upstream: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server.cert, server.key)
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve_one, args=(plain,))
            thread.start()
            self._threads.append(thread)

    def _serve_one(self, plain: socket.socket) -> None:
        plain.settimeout(10)
        with (
            contextlib.suppress(OSError),
            plain,
            self._context.wrap_socket(plain, server_side=True) as secure,
            socket.create_connection(("127.0.0.1", self._upstream), 10) as inner,
        ):
            _pass_on(secure, inner)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


def _pass_on(secure: ssl.SSLSocket, inner: socket.socket) -> None:
    while True:
        readable = [secure] if secure.pending() else select.select([secure, inner], [], [], 10)[0]
        for source in readable:
            data = source.recv(65536)
            if not data:
                return
            (inner if source is secure else secure).sendall(data)


@contextlib.contextmanager
def terminating(server: Certificate, client_ca: Path | None, upstream: int) -> Iterator[int]:
    """A terminator for the length of a block; gives its port."""
    terminator = Terminator(server, client_ca, upstream)
    thread = threading.Thread(target=terminator.serve)
    thread.start()
    try:
        yield terminator.port
    finally:
        terminator.close()
        thread.join()

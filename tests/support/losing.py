"""A proxy before PostgreSQL that loses commits, or the answers to them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

from tests.support.postgres import Server

_COMMIT = b"COMMIT\x00"


class LosingProxy:
    """Passes what comes to `server`. Of every `every` commits one is lost with its connection, in turn before the
    server has it, and after it has done it. 0 is none.

    Attributes:
        lost: how many were, before and after.
    """

    def __init__(self, server: Server, every: int = 0) -> None:
        self.every = every
        self.lost = [0, 0]
        self._count = 0
        self._lock = threading.Lock()
        self._folder = Path(tempfile.mkdtemp(prefix="cis490-losing-"))
        self._target = str(server.folder / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / ".s.PGSQL.5432"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url: str) -> str:
        """The one of the server, by way of this."""
        rest = [word for word in url.split() if not word.startswith("host=")]
        return " ".join([f"host={self._folder}", *rest])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._folder)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            loses = threading.Event()
            threading.Thread(target=self._forward, args=(client, server, loses), daemon=True).start()
            threading.Thread(target=self._back, args=(server, client, loses), daemon=True).start()

    def _is_lost(self) -> int | None:
        """How a commit that comes now is lost: 0 before, 1 after; None where it is not."""
        with self._lock:
            self._count += 1
            if not self.every or self._count % self.every:
                return None
            how = self._count // self.every % 2
            self.lost[how] += 1
            return how

    def _forward(self, client: socket.socket, server: socket.socket, loses: threading.Event) -> None:
        with client, server, contextlib.suppress(OSError):
            while data := client.recv(65536):
                how = self._is_lost() if data.endswith(_COMMIT) else None
                if how == 0:
                    break
                if how == 1:
                    loses.set()
                server.sendall(data)
            for one in (client, server):
                one.shutdown(socket.SHUT_RDWR)

    def _back(self, server: socket.socket, client: socket.socket, loses: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if loses.is_set():
                    # The server says that it is done.
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

"""A TCP proxy that counts what a client sends, and cuts it off where it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

_STEP = 64 * 1024
#: close(2) sends RST instead of FIN (socket(7), SO_LINGER).
_RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """On a free port of the loopback interface, in front of what `connect` connects to. When the client has sent as
    many bytes as each of `cuts` says, the cut's action is done and every connection is reset."""

    def __init__(
        self, connect: Callable[[], socket.socket], cuts: Sequence[tuple[int, Callable[[], None]]]
    ) -> None:
        self.sent = 0
        self._connect = connect
        self._cuts = list(cuts)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def cuts_left(self) -> int:
        """How many have not been done."""
        return len(self._cuts)

    def cut_at(self, *cuts: tuple[int, Callable[[], None]]) -> None:
        """Do these from here on, and count from 0."""
        with self._lock:
            self.sent = 0
            self._cuts = list(cuts)

    def serve(self) -> None:
        """Until it is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def close(self) -> None:
        """End everything."""
        # Wakes accept(2), which close(2) alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset_all()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = self._connect()
        except OSError:
            _reset(client)
            return
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=self._copy, args=(server, client, False), daemon=True)
        back.start()
        self._copy(client, server, True)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _copy(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_STEP):
                target.sendall(data)
                if counted:
                    self._count(len(data))
        # No FIN to one that is to be reset.
        if target in self._open:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _count(self, count: int) -> None:
        with self._lock:
            self.sent += count
            if not self._cuts or self.sent < self._cuts[0][0]:
                return
            _, action = self._cuts.pop(0)
        action()
        self._reset_all()

    def _reset_all(self) -> None:
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    # The thread that waits for it is woken, and closes it.
                    one.shutdown(socket.SHUT_RD)
            self._open.clear()


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()


@contextlib.contextmanager
def cutting(connect: Callable[[], socket.socket]) -> Iterator[CuttingProxy]:
    """A proxy without cuts, for the length of a block."""
    proxy = CuttingProxy(connect, ())
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()

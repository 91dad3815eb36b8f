"""What an upload in pieces costs: python -m benchmarks.resuming

Two comparisons, each within one run: an upload in one piece beside a PUT of the same bytes, as fast as both go; and
over a link of a given rate, an upload whose connection is reset again and again beside one that is left alone. Prints
the ratios, and how many bytes were sent in all; exit status 1 when a ratio misses its goal.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import socket
import statistics
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bodies import CHUNK_BYTES, digest, pattern
from benchmarks.servers import OURS, TOKEN, Server

MIB = 1 << 20
#: What the uncut upload must reach of a PUT's rate, what a cut one may take of an uncut one's time, and may send.
RATE_GOAL, TIME_GOAL, SENT_GOAL = 0.9, 1.2, 1.05
_TUS = {"Authorization": f"Bearer {TOKEN}", "Tus-Resumable": "1.0.0"}
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Link:
    """A way to the receiver that passes so many bytes a second, and is reset after so many; 0 is no limit."""

    port: int
    bytes_per_second: int = 0
    reset_after: int = 0
    sent: int = 0

    def send(self, head: bytes, start: int, size_bytes: int) -> int:
        """Send `head` and the body from `start` on; gives the status of the answer, 0 after a reset."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(head)
            end = min(size_bytes, start + self.reset_after) if self.reset_after else size_bytes
            self._send_body(connection, start, end)
            if end < size_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return 0
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read()
            return answer.status

    def _send_body(self, connection: socket.socket, start: int, end: int) -> None:
        view, began, done = memoryview(pattern()), time.perf_counter(), 0
        while start < end:
            offset = start % len(view)
            count = min(CHUNK_BYTES, end - start, len(view) - offset)
            connection.sendall(view[offset : offset + count])
            start, done = start + count, done + count
            self.sent += count
            if self.bytes_per_second:
                time.sleep(max(0.0, done / self.bytes_per_second - (time.perf_counter() - began)))


def put(link: Link, name: str, size_bytes: int) -> float:
    """Seconds of a PUT."""
    head = (
        f"PUT /v1/episodes/bench/{name}.tar.zst HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"X-Content-SHA256: {digest(size_bytes)}\r\nContent-Length: {size_bytes}\r\n\r\n"
    )
    started = time.perf_counter()
    _expect(link.send(head.encode(), 0, size_bytes), 201)
    return time.perf_counter() - started


def in_pieces(link: Link, name: str, size_bytes: int) -> float:
    """Seconds of an upload that goes on wherever it was cut."""
    started = time.perf_counter()
    path = _create(link.port, name, size_bytes)
    offset, status = 0, 0
    while status != 204:
        head = (
            f"PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
            f"Content-Length: {size_bytes - offset}\r\n\r\n"
        )
        status = link.send(head.encode(), offset, size_bytes)
        if status == 0:
            offset = _offset(link.port, path)
        elif status == 409:
            status, offset = 0, _offset(link.port, path)
        elif status != 423:
            _expect(status, 204)
    return time.perf_counter() - started


def _create(port: int, name: str, size_bytes: int) -> str:
    said = {"host_id": "bench", "episode_id": name, "sha256": digest(size_bytes)}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items())
    headers = _TUS | {"Upload-Length": str(size_bytes), "Upload-Metadata": metadata}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/uploads", headers=headers)
    answer = connection.getresponse()
    answer.read()
    _expect(answer.status, 201)
    connection.close()
    return answer.headers["Location"]


def _offset(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("HEAD", path, headers=_TUS)
    answer = connection.getresponse()
    answer.read()
    _expect(answer.status, 200)
    connection.close()
    return int(answer.headers["Upload-Offset"])


def _expect(status: int, wanted: int) -> None:
    if status != wanted:
        raise RuntimeError(f"answered {status}, expected {wanted}")


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resuming", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the episode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--link", type=int, default=100, metavar="MIB", help="what the link passes in a second"
    )
    parser.add_argument("--cut", type=int, default=100, metavar="MIB", help="after how much it is cut")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder to store it in")
    options = parser.parse_args()
    size_bytes = options.mib * MIB
    digest(size_bytes)
    with tempfile.TemporaryDirectory(prefix="cis490-resuming-", dir=options.disk) as folder:
        server = Server(OURS, Path(folder) / OURS)
        try:
            server.start()
            return _measure(server, size_bytes, options)
        finally:
            server.stop()


def _measure(server: Server, size_bytes: int, options: argparse.Namespace) -> int:
    rates, times, sent = [], [], []
    for number in range(options.rounds):
        of_put = put(Link(server.port), f"put-{number}", size_bytes)
        server.forget()
        of_pieces = in_pieces(Link(server.port), f"pieces-{number}", size_bytes)
        server.forget()
        uncut = in_pieces(Link(server.port, options.link * MIB), f"uncut-{number}", size_bytes)
        server.forget()
        broken = Link(server.port, options.link * MIB, options.cut * MIB)
        cut = in_pieces(broken, f"cut-{number}", size_bytes)
        server.forget()
        rates.append(of_put / of_pieces)
        times.append(cut / uncut)
        sent.append(broken.sent / size_bytes)
        print(
            f"PUT {of_put:.2f} s, in pieces {of_pieces:.2f} s (rate ×{rates[-1]:.2f}); over the link {uncut:.2f} s, "
            f"cut every {options.cut} MiB {cut:.2f} s (×{times[-1]:.2f}), sent ×{sent[-1]:.3f}",
            flush=True,
        )
    rate, seconds, bytes_sent = map(statistics.median, (rates, times, sent))
    print(
        f"median: rate ×{rate:.2f} of a PUT's (goal {RATE_GOAL}), time ×{seconds:.2f} when cut (at most {TIME_GOAL}), "
        f"sent ×{bytes_sent:.3f} (at most {SENT_GOAL})"
    )
    return 1 if rate < RATE_GOAL or seconds > TIME_GOAL or bytes_sent > SENT_GOAL else 0


if __name__ == "__main__":
    sys.exit(main())

"""The load generator: one epoll loop in a process of its own.

Bodies are made before the clock starts and go out by sendfile(2) from memory, so sending costs this process little;
what it used is in its outcome. Each answer is read to its end, however many packets it comes in.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bodies import Body

ROOT = Path(__file__).resolve().parents[1]
#: Sent on one connection before the others get their turn.
_TURN_BYTES = 1 << 20
#: A run in which nothing moves for so long has failed.
_STALL_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Job:
    """PUTs of one body under ever new names."""

    port: int
    token: str
    prefix: str
    connections: int
    size_bytes: int
    sha256: str
    chunked: bool = False
    #: Requests of each connection; with 0 they go on for `seconds`.
    requests: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job took. Every PUT was answered with a 2xx."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


def drive(job: Job) -> Outcome:
    """Run `job` in a process of its own.

    Raises:
        RuntimeError: an answer was no 2xx, or none came.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.client"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{job} failed:\n{done.stderr}")
    return Outcome(**json.loads(done.stdout))


class _Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, job: Job, body: Body, number: int, epoll: select.epoll) -> None:
        self._job = job
        self._body = body
        self._number = number
        self._epoll = epoll
        self._socket: socket.socket | None = None
        self._sent_requests = 0
        self.latencies: list[float] = []

    def connect(self) -> int:
        """Open it; gives the descriptor."""
        self._socket = socket.create_connection(("127.0.0.1", self._job.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._epoll.register(self._socket, select.EPOLLIN)
        self._wants_out = False
        return self._socket.fileno()

    def begin(self) -> None:
        """Start the next request."""
        job = self._job
        framing = "Transfer-Encoding: chunked" if job.chunked else f"Content-Length: {job.size_bytes}"
        self._head = memoryview(
            f"PUT /v1/episodes/host-{self._number}/{job.prefix}-{self._sent_requests}.tar.zst HTTP/1.1\r\n"
            f"Host: localhost\r\nAuthorization: Bearer {job.token}\r\nX-Content-SHA256: {job.sha256}\r\n"
            f"{framing}\r\n\r\n".encode("ascii")
        )
        self._sent_requests += 1
        self._offset = 0
        self._answer = b""
        self._began = time.perf_counter()
        self.go_on()

    def go_on(self) -> None:
        """Send what the socket takes."""
        assert self._socket is not None
        turn = 0
        try:
            while self._head:
                self._head = self._head[self._socket.send(self._head, socket.MSG_MORE) :]
            while self._offset < self._body.wire_bytes and turn < _TURN_BYTES:
                sent = self._body.send(self._socket.fileno(), self._offset, _TURN_BYTES)
                self._offset += sent
                turn += sent
        except BlockingIOError:
            pass
        self._want_out(self._offset < self._body.wire_bytes)

    def take(self) -> bool:
        """Read what has come; gives whether the answer is whole.

        Raises:
            RuntimeError: it is not a 2xx, or the connection ended.
        """
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError(f"the connection ended after {self._answer!r}")
        self._answer += data
        head, separator, rest = self._answer.partition(b"\r\n\r\n")
        if not separator or len(rest) < _content_length(head):
            return False
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"answered {self._answer!r}")
        self.latencies.append(time.perf_counter() - self._began)
        return True

    def may_begin(self, deadline: float) -> bool:
        """Whether the job has another request for this connection."""
        if self._job.requests:
            return self._sent_requests < self._job.requests
        return time.perf_counter() < deadline

    def _want_out(self, wanted: bool) -> None:
        if wanted != self._wants_out:
            assert self._socket is not None
            self._wants_out = wanted
            events = select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN
            self._epoll.modify(self._socket, events)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def run(job: Job) -> Outcome:
    """Run `job` here."""
    body = Body(job.size_bytes, chunked=job.chunked)
    epoll = select.epoll()
    connections: dict[int, _Connection] = {}
    for number in range(job.connections):
        connection = _Connection(job, body, number, epoll)
        connections[connection.connect()] = connection
    cpu = time.process_time()
    started = time.perf_counter()
    for connection in connections.values():
        connection.begin()
    busy = len(connections)
    while busy:
        events = epoll.poll(_STALL_SECONDS)
        if not events:
            raise RuntimeError("nothing moves")
        for fd, event in events:
            connection = connections[fd]
            if event & ~select.EPOLLOUT and connection.take():
                if connection.may_begin(started + job.seconds):
                    connection.begin()
                else:
                    busy -= 1
            elif event & select.EPOLLOUT:
                connection.go_on()
    seconds = time.perf_counter() - started
    latencies = sorted(value for one in connections.values() for value in one.latencies)
    return Outcome(
        count=len(latencies),
        seconds=seconds,
        p50_ms=1000 * latencies[len(latencies) // 2],
        p99_ms=1000 * latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)],
        cpu_seconds=time.process_time() - cpu,
    )


def main() -> None:
    """The job comes as JSON on standard input, its outcome goes to standard output."""
    outcome = run(Job(**json.load(sys.stdin)))
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()

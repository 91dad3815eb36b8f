"""What is measured. A scenario runs once a round, each peer in its turn."""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import limits
from benchmarks.bodies import digest
from benchmarks.client import Job, Outcome, drive
from benchmarks.figures import RATIO, Figures, Row
from benchmarks.processes import Usage
from benchmarks.servers import OURS, TOKEN, WORKERS, Server, receiver_environment
from benchmarks.slow_disk import DELAY_MS, SlowDisk

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SMALL_BYTES = 64 * KIB
PARALLEL = 8
DISK, MEMORY, SLOW = "disk", "tmpfs", f"{DELAY_MS} ms a flush"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each."""

    small_seconds: float = 1.5
    connections: tuple[int, ...] = (1, 16, 64)
    large_bytes: int = GIB
    parallel_bytes: int = 128 * MIB
    framing_bytes: int = 256 * MIB
    refusals: int = 40
    syncs: int = 60
    few_lines: int = 1_000
    many_lines: int = 1_000_000


QUICK = Sizes(
    small_seconds=0.4,
    large_bytes=64 * MIB,
    parallel_bytes=8 * MIB,
    framing_bytes=32 * MIB,
    refusals=5,
    syncs=5,
    many_lines=20_000,
)


@dataclass(frozen=True, slots=True)
class Field:
    """The servers of one place, in this round's order."""

    place: str
    servers: Sequence[Server]
    sizes: Sizes
    figures: Figures
    #: Makes the names of this round's episodes new.
    round_name: str

    def put(self, server: Server, what: str, **job: object) -> tuple[Outcome, Usage]:
        """Run a job against `server`, and measure what it used."""
        size_bytes = int(str(job.pop("size_bytes")))
        meter = server.meter()
        outcome = drive(
            Job(
                port=server.port,
                token=TOKEN,
                prefix=f"{what}-{self.round_name}",
                size_bytes=size_bytes,
                sha256=digest(size_bytes),
                **job,  # type: ignore[arg-type]
            )
        )
        return outcome, meter.read()

    def note(
        self,
        server: Server,
        name: str,
        text: str,
        unit: str,
        value: float,
        *,
        more: bool = False,
        outcome: Outcome | None = None,
    ) -> None:
        """Note a figure; `more` of it is better, or less."""
        share = outcome.cpu_seconds / outcome.seconds if outcome else 0.0
        self.figures.add(Row(name, self.place, text, unit, more), server.name, value, client_share=share)


def small(field: Field) -> None:
    """Episodes of 64 KiB from 1, 16 and 64 connections."""
    for connections in field.sizes.connections:
        for server in field.servers:
            outcome, used = field.put(
                server,
                f"small{connections}",
                size_bytes=SMALL_BYTES,
                connections=connections,
                requests=0,
                seconds=field.sizes.small_seconds,
            )
            server.forget()
            many = f"{connections} connection{'s' * (connections > 1)}"
            rate = outcome.per_second
            field.note(
                server,
                f"small-{connections}",
                f"64 KiB, {many}",
                "episodes/s",
                rate,
                more=True,
                outcome=outcome,
            )
            field.note(server, f"p99-{connections}", f"p99 of 64 KiB, {many}", "ms", outcome.p99_ms)
            cpu_ms = 1000 * used.cpu_seconds / outcome.count
            field.note(server, f"cpu-{connections}", f"CPU time of 64 KiB, {many}", "ms", cpu_ms)
            if field.place == DISK:
                per_byte = used.written_bytes / (SMALL_BYTES * outcome.count)
                field.note(server, f"written-{connections}", f"written for 64 KiB, {many}", "B/B", per_byte)


def slow(field: Field, disks: Mapping[str, SlowDisk]) -> None:
    """Episodes of 64 KiB to disks that flush slowly, one for each server by its name, and how often they did."""
    for connections in field.sizes.connections:
        for server in field.servers:
            before = disks[server.name].flushes()
            outcome, _ = field.put(
                server,
                f"slow{connections}",
                size_bytes=SMALL_BYTES,
                connections=connections,
                requests=0,
                seconds=field.sizes.small_seconds,
            )
            flushes = disks[server.name].flushes() - before
            server.forget()
            many = f"{connections} connection{'s' * (connections > 1)}"
            rate = outcome.per_second
            field.note(
                server,
                f"slow-{connections}",
                f"64 KiB, {many}",
                "episodes/s",
                rate,
                more=True,
                outcome=outcome,
            )
            field.note(server, f"slow-p99-{connections}", f"p99 of 64 KiB, {many}", "ms", outcome.p99_ms)
            each = flushes / outcome.count
            field.note(server, f"flushes-{connections}", f"flushes for one, {many}", "flushes", each)


def large(field: Field) -> None:
    """One large episode, and what it cost."""
    size = field.sizes.large_bytes
    text = f"one episode of {size // MIB} MiB"
    for server in field.servers:
        outcome, used = field.put(server, "large", size_bytes=size, connections=1)
        started = time.perf_counter()
        server.settle()
        synced = outcome.seconds + time.perf_counter() - started
        server.forget()
        rate = size / MIB / outcome.seconds
        field.note(server, "large", text, "MiB/s", rate, more=True, outcome=outcome)
        field.note(server, "cpu", "CPU time", "s/GiB", used.cpu_seconds * GIB / size)
        if field.place == DISK:
            text_synced = f"{text}, then sync(1)"
            field.note(server, "large-synced", text_synced, "MiB/s", size / MIB / synced, more=True)
            field.note(server, "written", "written to the device", "B/B", used.written_bytes / size)


def parallel(field: Field) -> None:
    """Eight episodes at once."""
    size = field.sizes.parallel_bytes
    for server in field.servers:
        outcome, _ = field.put(server, "parallel", size_bytes=size, connections=PARALLEL)
        server.forget()
        rate = PARALLEL * size / MIB / outcome.seconds
        text = f"{PARALLEL} × {size // MIB} MiB at once"
        field.note(server, "parallel", text, "MiB/s", rate, more=True, outcome=outcome)


def chunked(field: Field) -> None:
    """The same body with Content-Length and in chunks."""
    size = field.sizes.framing_bytes
    rates: dict[tuple[str, bool], float] = {}
    for name, framed in (("length", False), ("chunked", True)):
        text = f"{size // MIB} MiB, {'chunked' if framed else 'Content-Length'}"
        for server in field.servers:
            outcome, _ = field.put(server, name, size_bytes=size, connections=1, chunked=framed)
            server.forget()
            rate = size / MIB / outcome.seconds
            rates[server.name, framed] = rate
            field.note(server, name, text, "MiB/s", rate, more=True, outcome=outcome)
    for server in field.servers:
        ratio = rates[server.name, True] / rates[server.name, False]
        field.note(server, "framing-ratio", "chunked : Content-Length", RATIO, ratio, more=True)


def memory(field: Field) -> None:
    """How far a server grows, fresh from its start and warmed up by small episodes."""
    size = field.sizes.parallel_bytes
    for uploads in (1, PARALLEL):
        for server in field.servers:
            with fresh(server) as started:
                field.put(started, "warm", size_bytes=SMALL_BYTES, connections=4 * WORKERS, requests=4)
                _, used = field.put(started, "memory", size_bytes=size, connections=uploads)
                started.forget()
            text = (
                f"peak RSS above idle, each of {uploads}" if uploads > 1 else "peak RSS above idle, 1 upload"
            )
            field.note(server, f"memory-{uploads}", text, "MiB", used.grown_bytes / MIB / uploads)


def refusal(field: Field) -> None:
    """From the head of a large PUT with a bad token to the first byte of its refusal."""
    head = (
        b"PUT /v1/episodes/host/refused.tar.zst HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n"
        b"X-Content-SHA256: %s\r\nContent-Length: %d\r\n\r\n"
    ) % (b"0" * 64, GIB)
    for server in field.servers:
        times = [_first_byte_ms(server.port, head) for _ in range(field.sizes.refusals)]
        field.note(server, "refusal", "first byte of a 401", "ms", statistics.median(times))


def _first_byte_ms(port: int, head: bytes) -> float:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        started = time.perf_counter()
        connection.sendall(head)
        answer = connection.recv(4096)
        seconds = time.perf_counter() - started
    if not answer.startswith(b"HTTP/1.1 401"):
        raise RuntimeError(f"answered {answer!r} instead of 401")
    return 1000 * seconds


def start(field: Field) -> None:
    """From the start to the first answer."""
    for server in field.servers:
        with fresh(server) as started:
            field.note(server, "start", "start to first answer", "s", started.started_seconds)


@contextlib.contextmanager
def fresh(like: Server) -> Iterator[Server]:
    """Another server of the kind of `like`, in a folder beside its own, for the length of a block."""
    server = Server(like.name, like.folder.with_name(f"{like.name}-fresh"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def index(field: Field) -> None:
    """Ingest beside a short and a long index. The field's servers are two receivers."""
    rates: dict[int, float] = {}
    for server in field.servers:
        lines = _lines_of(server)
        outcome, _ = field.put(
            server,
            "index",
            size_bytes=SMALL_BYTES,
            connections=1,
            requests=0,
            seconds=field.sizes.small_seconds,
        )
        server.forget()
        text = f"64 KiB, 1 connection, {lines:,} index lines"
        field.note(
            server, f"index-{lines}", text, "episodes/s", outcome.per_second, more=True, outcome=outcome
        )
        rates[lines] = outcome.per_second
    _note_growth(field, "index-ratio", "64 KiB, 1 connection", rates, more=True)


def health_check(field: Field) -> None:
    """`cis490-receiver health-check` beside a short and a long index."""
    seconds: dict[int, float] = {}
    for server in field.servers:
        lines = _lines_of(server)
        catalog = server.data / "catalog.db"
        if not catalog.exists():
            text = f"health-check that makes the catalog, {lines:,} lines"
            field.note(server, f"catalog-{lines}", text, "s", _health_check_seconds(server.data))
        text = f"health-check, {lines:,} index lines"
        seconds[lines] = _health_check_seconds(server.data)
        field.note(server, f"health-{lines}", text, "s", seconds[lines])
    _note_growth(field, "health-ratio", "health-check", seconds, more=False)


def _note_growth(field: Field, name: str, text: str, by_lines: dict[int, float], *, more: bool) -> None:
    few, many = sorted(by_lines)
    text = f"{text}, {many:,} lines : {few:,} lines"
    field.note(field.servers[0], name, text, RATIO, by_lines[many] / by_lines[few], more=more)


def _lines_of(server: Server) -> int:
    return int(server.folder.name.rpartition("-")[2])


def _health_check_seconds(data: Path) -> float:
    command = [str(Path(sys.executable).with_name("cis490-receiver")), "health-check", "--quiet"]
    started = time.perf_counter()
    # Status 1 says that a host is silent, as those of a made-up index are.
    done = subprocess.run(
        command, env=receiver_environment(data), capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or "could not look" in done.stderr:
        raise RuntimeError(f"health-check failed:\n{done.stderr}")
    return time.perf_counter() - started


def machine(folder: Path, memory_folder: Path, sizes: Sizes, figures: Figures) -> None:
    """The limits of this machine, in the column of ours."""
    size = sizes.large_bytes
    for name, place, text, unit, value in _limits(folder, memory_folder, size, sizes.syncs):
        figures.add(Row(name, place, text, unit, unit == "MiB/s"), OURS, value)


def _limits(
    folder: Path, memory_folder: Path, size: int, syncs: int
) -> Iterator[tuple[str, str, str, str, float]]:
    mib = f"{size // MIB} MiB"
    yield "limit-sha256", "–", f"limit: SHA-256 of {mib}", "MiB/s", limits.sha256_rate(size)
    for name, how in (("limit-direct", "oflag=direct"), ("limit-fsync", "conv=fsync")):
        rate = limits.dd_rate(folder, memory_folder, size, how)
        yield name, DISK, f"limit: dd {how}, {mib}", "MiB/s", rate
    times = [limits.fsync_ms(folder, SMALL_BYTES) for _ in range(syncs)]
    yield "limit-sync", DISK, "limit: write and fsync 64 KiB", "ms", statistics.median(times)


Scenario = Callable[[Field], None]
#: Run against every peer, on the disk and in memory, or on the disk alone.
EVERYWHERE: dict[str, Scenario] = {"small": small, "large": large, "parallel": parallel, "chunked": chunked}
ON_DISK: dict[str, Scenario] = {"memory": memory, "refusal": refusal, "start": start}
#: Run against the receiver with a short and with a long index.
WITH_INDEX: dict[str, Scenario] = {"index": index, "health-check": health_check}
ANYWHERE: dict[str, Scenario] = EVERYWHERE | ON_DISK | WITH_INDEX
SLOWLY, LIMITS = "slow", "limits"
NAMES = (*EVERYWHERE, *ON_DISK, SLOWLY, *WITH_INDEX, LIMITS)

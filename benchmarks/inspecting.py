"""What it costs to know that an episode opens: python -m benchmarks.inspecting

First, one large episode to a receiver with validate = "off" and to one with "full", which decodes it while it comes: as
fast as this machine can send, and no faster than a network of 1 Gbit/s. Telemetry that compresses to about a third, and
bytes that do not compress. They take turns, round by round; a ratio is made within a round.

Then how fast `cis490-receiver inspect` reads what is stored, without a limit.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from benchmarks.servers import OURS, ROOT, TOKEN, Server, receiver_environment
from cis490_receiver.models import Episode, wall_time

MIB = 1 << 20
SMALL_BYTES = 64 << 10
#: What 1 Gbit/s of Ethernet leaves for TCP's content, in bytes a second.
GIGABIT = 117 * MIB
_MODES = ("off", "full")
_SEND_STEP = 256 << 10


@dataclass(frozen=True, slots=True)
class Sent:
    """What an upload took."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Archive:
    """A `.tar.zst` in memory, as a file to send from."""

    fd: int
    size_bytes: int
    sha256: str


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspecting", description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="of the large episode")
    parser.add_argument("--small", type=int, default=2000, help="how many stored episodes of 64 KiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder to store on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cis490-inspecting-", dir=options.disk) as folder:
        _uploads(Path(folder), options.mib * MIB, options.rounds)
        _stored(Path(folder) / "many", [make(SMALL_BYTES, 1, b"few")] * options.small)
        _stored(Path(folder) / "large", [make(options.mib * MIB, 3, b"few")] * 2)
    return 0


def _uploads(folder: Path, size_bytes: int, rounds: int) -> None:
    servers = {mode: Server(OURS, folder / mode, settings={"validate": mode}) for mode in _MODES}
    with contextlib.ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
        for what, kind in (("telemetry", b"few"), ("incompressible", b"")):
            archive = make(size_bytes, 1, kind)
            stack.callback(os.close, archive.fd)
            for pace, rate in (("as fast as it goes", None), ("at 1 Gbit/s", GIGABIT)):
                found: dict[str, list[Sent]] = {mode: [] for mode in _MODES}
                for number in range(rounds):
                    for mode in _MODES[:: 1 if number % 2 else -1]:
                        found[mode].append(_put(servers[mode], archive, rate))
                        servers[mode].forget()
                _tell(f"{archive.size_bytes / MIB:.0f} MiB of {what}, {pace}", archive, found)


def _tell(what: str, archive: Archive, found: dict[str, list[Sent]]) -> None:
    ratios = [off.seconds / full.seconds for off, full in zip(found["off"], found["full"], strict=True)]
    rates = [f"{mode} {_rate(archive, found[mode]):5.0f} MiB/s" for mode in _MODES]
    cpu = [statistics.median(sent.cpu_seconds for sent in found[mode]) for mode in _MODES]
    print(
        f"{what}: {', '.join(rates)}; full : off {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}–{max(ratios):.2f}); CPU {cpu[0]:.2f} and {cpu[1]:.2f} s",
        flush=True,
    )


def _rate(archive: Archive, sent: list[Sent]) -> float:
    return archive.size_bytes / MIB / statistics.median(one.seconds for one in sent)


def _put(server: Server, archive: Archive, rate: int | None) -> Sent:
    name = f"{time.monotonic_ns():x}"
    head = (
        f"PUT /v1/episodes/lab-1/{name}.tar.zst HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"X-Content-SHA256: {archive.sha256}\r\nContent-Length: {archive.size_bytes}\r\nConnection: close\r\n\r\n"
    )
    meter = server.meter()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode("ascii"))
        began = time.perf_counter()
        sent = 0
        while sent < archive.size_bytes:
            sent += os.sendfile(
                connection.fileno(), archive.fd, sent, min(_SEND_STEP, archive.size_bytes - sent)
            )
            if rate is not None and (ahead := sent / rate - (time.perf_counter() - began)) > 0:
                time.sleep(ahead)
        answer = connection.recv(1 << 16)
        seconds = time.perf_counter() - began
    if not answer.startswith(b"HTTP/1.1 201"):
        raise RuntimeError(f"not stored: {answer!r}")
    return Sent(seconds, meter.read().cpu_seconds)


def _stored(data: Path, archives: list[Archive]) -> None:
    data.mkdir()
    _fill(data, archives)
    subprocess.run(["sync", "--file-system", data], check=True)
    before = _cpu_of_children()
    began = time.perf_counter()
    command = [str(Path(sys.executable).with_name("cis490-receiver")), "inspect", "--json"]
    done = subprocess.run(
        command,
        env=receiver_environment(data, inspect_bytes_per_second=0),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    seconds, cpu = time.perf_counter() - began, _cpu_of_children() - before
    told = json.loads(done.stdout)
    if told["looked"] != len(archives) or told["findings"]:
        raise RuntimeError(f"inspect found: {told}")
    print(
        f"inspect of {len(archives)} episodes of {archives[0].size_bytes / MIB:.2f} MiB: "
        f"{told['size_bytes'] / MIB / seconds:.0f} MiB/s, {len(archives) / seconds:.0f} episodes/s, "
        f"CPU {cpu * 1000 / len(archives):.2f} ms each",
        flush=True,
    )
    os.close(archives[0].fd)


def _fill(data: Path, archives: list[Archive]) -> None:
    with open(data / "index.jsonl", "wb") as index:
        for number, archive in enumerate(archives):
            at_ns = time.time_ns()
            record = Episode(
                host_id=f"lab-{number % 20}",
                episode_id=f"run-{number}",
                sha256=archive.sha256,
                size_bytes=archive.size_bytes,
                code_commit="c" * 40,
                episode_type="control",
                received_at_wall=wall_time(at_ns),
                received_at_ns=at_ns,
            )
            path = data / "episodes" / record.host_id / record.key.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                out.write(os.pread(archive.fd, archive.size_bytes, 0))
            index.write(record.to_line())


def make(size_bytes: int, level: int, kind: bytes) -> Archive:
    """An episode of about `size_bytes`; of `kind` ``few`` its telemetry is lines of text."""
    fd = os.memfd_create("episode")
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    meta = {"schema_version": 2, "code_commit": "c" * 40, "episode_type": "control"}
    with open(fd, "wb", closefd=False) as out, compressor.stream_writer(out, closefd=False) as packed:
        _add(packed, "meta.json", [json.dumps(meta).encode("ascii")])
        number = 0
        while out.tell() < size_bytes:
            size = min(8 * MIB, size_bytes)
            _add(packed, f"telemetry-{number}.jsonl", list(_content(size, kind, number)))
            packed.flush()
            number += 1
        packed.write(bytes(1024))
    stored = os.fstat(fd).st_size
    digest = hashlib.sha256()
    for start in range(0, stored, MIB):
        digest.update(os.pread(fd, MIB, start))
    return Archive(fd, stored, digest.hexdigest())


def _add(packed: zstandard.ZstdCompressionWriter, name: str, pieces: list[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = sum(map(len, pieces))
    packed.write(member.tobuf())
    for piece in pieces:
        packed.write(piece)
    packed.write(bytes(-member.size % 512))


def _content(size_bytes: int, kind: bytes, seed: int) -> Iterator[bytes]:
    choose = random.Random(seed)
    if not kind:
        yield choose.randbytes(size_bytes)
        return
    text = io.BytesIO()
    while text.tell() < size_bytes:
        at, value, register = choose.getrandbits(40), choose.random(), choose.getrandbits(64)
        text.write(b'{"t_ns":%d,"cpu":%.6f,"rip":"0x%016x"}\n' % (at, value, register))
    yield text.getvalue()


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())

"""What receivers on many machines cost beside one with a disk of its own: python -m benchmarks.cluster

All of it is on this machine: PostgreSQL and SeaweedFS, whose data is on the disk, and one, two and four receivers that
share its cores. Prints episodes a second; with --rows, how long listings, followers and health-check take with so many.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from benchmarks import make_index
from benchmarks.bodies import digest
from benchmarks.client import Job, drive
from benchmarks.processes import cpu_seconds, resident_bytes, tree
from benchmarks.servers import OURS, TOKEN, Server, environment
from tests.support import objects, postgres

CONNECTIONS = 16
KIB = 1 << 10
_PAGES = 100
#: By the name of its process.
_PARTS = {"postgres": "PostgreSQL", "weed": "SeaweedFS", "python": "receivers", "gunicorn": "receivers"}


def per_second(servers: list[Server], size_bytes: int, seconds: float, prefix: str) -> float:
    """How many episodes all of `servers` take a second."""

    def one(place: int, server: Server) -> float:
        connections = CONNECTIONS // len(servers)
        job = Job(
            server.port,
            TOKEN,
            f"{prefix}-{place}",
            connections,
            size_bytes,
            digest(size_bytes),
            requests=0,
            seconds=seconds,
        )
        return drive(job).per_second

    with ThreadPoolExecutor(len(servers)) as pool:
        return sum(pool.map(one, itertools.count(), servers))


def intake(folder: Path, shared: Mapping[str, object], seconds: float, sizes: list[int]) -> None:
    """Print the rates."""
    for size_bytes in sizes:
        local = Server(OURS, folder / f"local-{size_bytes}")
        local.start()
        alone = per_second([local], size_bytes, seconds, f"local-{size_bytes}")
        local.stop()
        print(f"{size_bytes // KIB:6} KiB  one machine    {alone:7.1f}/s", flush=True)
        for count in (1, 2, 4):
            servers = [
                Server(OURS, folder / f"{count}-{number}-{size_bytes}", workers=1, settings=shared)
                for number in range(count)
            ]
            for server in servers:
                server.start()
            # The object store makes its volumes when the first objects come.
            per_second(servers, size_bytes, seconds / 2, f"warm{count}-{size_bytes}")
            before = used_by_parts()
            rate = per_second(servers, size_bytes, seconds, f"c{count}-{size_bytes}")
            parts = parts_text(before, used_by_parts(), rate * seconds)
            for server in servers:
                server.stop()
            print(
                f"{size_bytes // KIB:6} KiB  {count} of a cluster {rate:7.1f}/s  ×{rate / alone:.2f}  {parts}",
                flush=True,
            )


def used_by_parts() -> dict[str, tuple[float, int]]:
    """CPU seconds and resident bytes of each part, whose processes are all below this one."""
    used: dict[str, tuple[float, int]] = {}
    for pid in tree(os.getpid()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name = _PARTS.get(Path(f"/proc/{pid}/comm").read_text().strip())
            if pid == os.getpid() or name is None:
                continue
            cpu, resident = used.get(name, (0.0, 0))
            used[name] = cpu + cpu_seconds(pid), resident + resident_bytes(pid)
    return used


def parts_text(
    before: Mapping[str, tuple[float, int]], after: Mapping[str, tuple[float, int]], count: float
) -> str:
    """What each part used for one of `count` episodes, and how large it is."""
    texts = []
    for name, (cpu, resident) in sorted(after.items()):
        each = (cpu - before.get(name, (0.0, 0))[0]) / count
        texts.append(f"{name} {each * 1000:.1f} ms, {resident >> 20} MiB")
    return "; ".join(texts)


def fill(url: str, rows: int) -> None:
    """Put `rows` lines into the index, with no objects."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        end = 0
        with cursor.copy("COPY journal (generation, line_offset, line) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "int8", "bytea"])
            for number in range(rows):
                line = make_index.line(number)
                copy.write_row((1, end, line[:-1]))
                end += len(line)
        cursor.execute("UPDATE journal_head SET end_offset = %s", (end,))


def get(server: Server, path: str, **headers: str) -> float:
    """Seconds of an answer, read to its end."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"} | headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (200, 206), answer.status
    connection.close()
    return time.perf_counter() - started


def reading(name: str, server: Server, settings: Mapping[str, object]) -> list[float]:
    """Print how long each look takes; gives the seconds."""
    server.start()
    first = get(server, "/v1/episodes")
    page = statistics.median(get(server, "/v1/episodes?limit=100") for _ in range(_PAGES))
    tail = statistics.median(get(server, "/v1/index.jsonl", Range="bytes=-5000") for _ in range(_PAGES))
    command = [str(Path(sys.executable).with_name("cis490-receiver")), "health-check", "--quiet"]
    environ = environment(data_dir=server.data, syslog_address="", disk_reserve_bytes=0, **settings)
    subprocess.run(command, env=environ, capture_output=True)
    started = time.perf_counter()
    subprocess.run(command, env=environ, capture_output=True)
    check = time.perf_counter() - started
    server.stop()
    print(
        f"{name:12} first look {first:6.2f} s, page {page * 1000:6.1f} ms, end of the index {tail * 1000:6.1f} ms, "
        f"health-check {check:5.2f} s",
        flush=True,
    )
    return [first, page, tail, check]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[64 * KIB, 4096 * KIB], help="of bodies, in bytes"
    )
    parser.add_argument(
        "--rows", type=int, default=0, help="lines of the index for listings, such as 1000000"
    )
    arguments = parser.parse_args()
    database = postgres.Server(on_disk=True)
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as name:
        folder = Path(name)
        server = objects.shared("seaweedfs")
        options = server.options()
        credentials = folder / "credentials"
        credentials.write_text(
            f"[default]\naws_access_key_id = {options['access_key_id']}\n"
            f"aws_secret_access_key = {options['secret_access_key']}\n"
        )
        shared: dict[str, object] = {
            "database_url": database.migrated(),
            "objects_url": f"s3://{objects.BUCKET}/bench",
            "objects_endpoint": options["endpoint"],
            "objects_credentials_file": credentials,
        }
        intake(folder, shared, arguments.seconds, arguments.sizes)
        if arguments.rows:
            url = database.migrated()
            fill(url, arguments.rows)
            make_index.make(folder / "rows" / "data", arguments.rows)
            alone = reading("one machine", Server(OURS, folder / "rows"), {})
            shared["database_url"] = url
            many = reading("cluster", Server(OURS, folder / "rows-cluster", settings=shared), shared)
            print("ratios      ", " ".join(f"×{b / a:.2f}" for a, b in zip(alone, many, strict=True)))
    database.remove()


if __name__ == "__main__":
    main()

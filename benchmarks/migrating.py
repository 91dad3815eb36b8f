"""What a move to a cluster costs: python -m benchmarks.migrating [--rows 1000000]

PostgreSQL and SeaweedFS run on this machine. Prints how fast episodes are copied; with --rows, how long nothing is
taken in a move of so many, whose objects are pretended to be there already, and how long a run takes that finds nothing
new.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import make_index
from benchmarks.bodies import digest
from benchmarks.client import Job, drive
from benchmarks.servers import OURS, TOKEN, Server, environment
from cis490_receiver.models import Episode
from tests.support import objects, postgres

CONNECTIONS = 16
KIB = 1 << 10


def migrate(folder: Path, shared: dict[str, object], *arguments: str) -> dict[str, Any]:
    """What `migrate` tells of a run from `folder`."""
    program = str(Path(sys.executable).parent / "cis490-receiver")
    command = [program, "migrate", "--from", str(folder), *arguments]
    done = subprocess.run(
        [*command, "--json", "--quiet"],
        env=environment(**shared, data_dir=folder.with_name("machine")),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def copying(folder: Path, shared: dict[str, object], size_bytes: int, seconds: float) -> None:
    """Print how fast episodes of `size_bytes` are copied, as many as a receiver takes in `seconds`."""
    server = Server(OURS, folder)
    server.start()
    drive(
        Job(server.port, TOKEN, "x", CONNECTIONS, size_bytes, digest(size_bytes), requests=0, seconds=seconds)
    )
    server.stop()
    began = time.monotonic()
    told = migrate(server.data, shared)
    took = time.monotonic() - began
    rate, mib = told["copied"] / took, told["copied_bytes"] / took / (1 << 20)
    print(
        f"{size_bytes // KIB:6} KiB  {told['copied']:6} episodes  {rate:7.1f}/s  {mib:6.1f} MiB/s", flush=True
    )


def stopping(folder: Path, shared: dict[str, object], url: str, rows: int) -> None:
    """Print how long each run of a move of `rows` episodes takes, and for how long nothing is taken."""
    data = folder / "data"
    make_index.make(data, 0)
    migrate(data, shared)
    pretend(url, rows)
    make_index.make(data, rows)
    runs: tuple[tuple[str, ...], ...] = (("first",), ("nothing new",), ("finish", "--finish"))
    for name, *arguments in runs:
        began = time.monotonic()
        told = migrate(data, shared, *arguments)
        stopped = f", nothing taken for {told['stopped_seconds']:.2f} s" if told["finished"] else ""
        print(f"{rows} lines, {name:11}  {time.monotonic() - began:6.1f} s{stopped}", flush=True)


def pretend(url: str, rows: int) -> None:
    """Make rows for the episodes of an index of `rows` lines, without objects."""
    columns = "host_id, episode_id, object_key, size_bytes, sha256, received_at_ns, line"
    copying = f"COPY episodes ({columns}) FROM STDIN".encode()
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(copying) as copy:
        for number in range(rows):
            line = make_index.line(number)[:-1]
            one = Episode.from_line(line)
            names = (one.host_id, one.episode_id, f"x/{number}")
            copy.write_row((*names, one.size_bytes, one.sha256, one.received_at_ns, line))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="how long a receiver is filled")
    parser.add_argument("--rows", type=int, default=0, help="lines of the index, such as 1000000")
    arguments = parser.parse_args()
    database = postgres.Server(on_disk=True)
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as name:
        folder = Path(name)
        options = (store := objects.shared("seaweedfs")).options()
        credentials = folder / "credentials"
        credentials.write_text(
            f"[default]\naws_access_key_id = {options['access_key_id']}\n"
            f"aws_secret_access_key = {options['secret_access_key']}\n"
        )

        def cluster(prefix: str) -> dict[str, object]:
            return {
                "database_url": database.migrated(),
                "objects_url": f"s3://{objects.BUCKET}/{prefix}",
                "objects_endpoint": store.options()["endpoint"],
                "objects_credentials_file": credentials,
            }

        for size_bytes in (64 * KIB, 4096 * KIB):
            copying(folder / str(size_bytes), cluster(str(size_bytes)), size_bytes, arguments.seconds)
        if arguments.rows:
            shared = cluster("rows")
            stopping(folder / "rows", shared, str(shared["database_url"]), arguments.rows)
    database.remove()


if __name__ == "__main__":
    main()

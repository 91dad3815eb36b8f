"""Mixed load with faults on: `bin/soak MINUTES`.

Good uploads of several sizes, repeats, conflicts, refusals, uploads that are cut off, doctor reports, listings, killed
workers, `health-check` and `reindex` while all that goes on. In the end memory, descriptors and threads must be flat,
and disk, index and catalog agree to the byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment, put_headers, running

WRITERS = 6
#: What a worker may have grown by between the first and the last look, in KiB and in number.
RSS_SLACK_KIB = 40_000
FD_SLACK = 40


class Soak:
    """One run."""

    def __init__(self, receiver: Receiver, minutes: float) -> None:
        self.receiver = receiver
        self.end = time.monotonic() + minutes * 60
        self.outcomes: Counter[str] = Counter()
        self.promised: dict[tuple[str, str], str] = {}
        self.lock = threading.Lock()

    def write(self, writer: int) -> None:
        """Ship one thing after another until the time is over."""
        dice = random.Random(writer)
        number = 0
        while time.monotonic() < self.end:
            number += 1
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._one(dice, writer, number)

    def _one(self, dice: random.Random, writer: int, number: int) -> None:
        size = dice.choice([1_000, 1_000, 60_000, 400_000, 3_000_000])
        episode = make_episode(writer * 10**6 + number, size=size)
        host, name = f"soak-{writer % 4}", f"w{writer}-{number}"
        act = dice.random()
        if act < 0.70:
            answer = self.receiver.put(host, name, episode)
            self._note(host, name, episode, answer.status)
        elif act < 0.80 and number > 1:
            for _ in range(2):
                self._note(host, name, episode, self.receiver.put(host, name, episode).status)
            other = make_episode(number, size=500)
            self.outcomes[str(self.receiver.put(host, name, other).status)] += 1
        elif act < 0.87:
            token = dice.choice([AUTH["Authorization"], "Bearer x"])
            refusal = self.receiver.put(host, name, episode, X_Content_SHA256="0" * 64, Authorization=token)
            self.outcomes[str(refusal.status)] += 1
        elif act < 0.94:
            self._cut_short(host, name, episode, dice)
        elif act < 0.97:
            self.receiver.request("PUT", f"/v1/host-health/{host}", b'{"checks": []}', AUTH)
        else:
            self.receiver.request("GET", "/v1/episodes?limit=50", headers=AUTH)

    def _note(self, host: str, name: str, episode: Archive, status: int) -> None:
        with self.lock:
            self.outcomes[str(status)] += 1
            if status in (200, 201):
                self.promised[host, name] = episode.sha256

    def _cut_short(self, host: str, name: str, episode: Archive, dice: random.Random) -> None:
        headers = put_headers(episode) | {"Content-Length": str(len(episode.data)), "Host": "x"}
        head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        with contextlib.closing(self.receiver.raw()) as connection:
            start = f"PUT /v1/episodes/{host}/{name}.tar.zst HTTP/1.1\r\n{head}\r\n".encode()
            connection.sendall(start + episode.data[: dice.randrange(len(episode.data))])
        self.outcomes["cut short"] += 1

    def disturb(self) -> None:
        """Kill a worker, run the commands, again and again."""
        commands = (["health-check", "--quiet"], ["reindex", "--json"])
        turn = 0
        while time.monotonic() < self.end - 3:
            time.sleep(2)
            turn += 1
            if turn % 5 == 0 and (pids := self.receiver.worker_pids()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[turn % len(pids)], signal.SIGKILL)
                self.outcomes["killed worker"] += 1
            command = commands[turn % len(commands)]
            environment = clean_environment(
                data_dir=self.receiver.data_dir, syslog_address="", disk_reserve_bytes=0
            )
            subprocess.run(
                [str(BIN / "cis490-receiver"), *command], env=environment, capture_output=True, check=False
            )
            self.outcomes[command[0]] += 1


def usage(receiver: Receiver) -> tuple[int, int, int]:
    """The most that any worker has: RSS in KiB, open descriptors, threads."""
    rows = []
    for pid in receiver.worker_pids():
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        rows.append(
            (int(fields["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"]))
        )
    return max(r[0] for r in rows), max(r[1] for r in rows), max(r[2] for r in rows)


def disagreements(soak: Soak) -> list[str]:
    """Everything in which disk, index, catalog and promises differ."""
    receiver = soak.receiver
    deadline = time.monotonic() + 20
    while receiver.incoming() and time.monotonic() < deadline:
        time.sleep(0.2)
    lines = {(line["host_id"], line["episode_id"]): line["sha256"] for line in receiver.index()}
    disk = {
        (path.parent.name, path.name.removesuffix(".tar.zst")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (receiver.data_dir / "episodes").glob("*/*")
    }
    hosts = receiver.request("GET", "/v1/hosts", headers=AUTH).json["hosts"]
    found = []
    if lines != disk:
        found.append(f"index and disk differ in {len(set(lines.items()) ^ set(disk.items()))} episodes")
    if len(receiver.index()) != len(lines):
        found.append("an episode has two lines")
    if sum(host["episodes"] for host in hosts) != len(lines):
        found.append("the catalog counts otherwise than the index")
    lost = [key for key, digest in soak.promised.items() if lines.get(key) != digest]
    if lost:
        found.append(f"{len(lost)} acknowledged episodes are lost, such as {lost[0]}")
    if receiver.incoming():
        found.append(f"{len(receiver.incoming())} files stay in incoming/")
    return found


def main() -> int:
    """Run; the exit status says whether all is well."""
    minutes = float(sys.argv[1])
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        running(Path(folder), body_idle_seconds=5, threads=16) as receiver,
    ):
        soak = Soak(receiver, minutes)
        with ThreadPoolExecutor(WRITERS + 1) as pool:
            tasks = [pool.submit(soak.write, writer) for writer in range(WRITERS)] + [
                pool.submit(soak.disturb)
            ]
            time.sleep(min(15, minutes * 20))
            before = usage(receiver)
            for task in tasks:
                task.result()
        time.sleep(6)
        after = usage(receiver)
        problems = disagreements(soak)
        if after[0] > before[0] + RSS_SLACK_KIB:
            problems.append(f"a worker's memory grew from {before[0]} to {after[0]} KiB")
        if after[1] > before[1] + FD_SLACK:
            problems.append(f"a worker's descriptors grew from {before[1]} to {after[1]}")
        print(json.dumps({
            "minutes": minutes, "acknowledged": len(soak.promised), "outcomes": dict(soak.outcomes),
            "rss_kib": [before[0], after[0]], "descriptors": [before[1], after[1]], "threads": [before[2], after[2]],
            "problems": problems,
        }, indent=2))  # fmt: skip
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

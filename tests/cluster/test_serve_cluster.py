"""`bin/serve --cluster`, and what the README does with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.receiver import ROOT, Receiver, clean_environment

pytestmark = pytest.mark.slow

PORTS = 5
EPISODES = 300


def first_of_free_ports() -> int:
    for first in range(18500, 30000, PORTS):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + PORTS):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no five free ports")


@dataclass
class Shown:
    process: subprocess.Popen[str]
    data_dir: Path
    port: int
    said: str

    def read_until(self, words: str) -> None:
        assert self.process.stdout is not None
        while words not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line

    def receiver(self, number: int) -> Receiver:
        """As it is talked to; 0 is HAProxy."""
        found = Receiver(self.data_dir, self.data_dir)
        found.port = self.port + number
        return found


@contextlib.contextmanager
def shown(data_dir: Path) -> Iterator[Shown]:
    port = first_of_free_ports()
    venv = Path(sys.executable).parents[1]
    with subprocess.Popen(
        [ROOT / "bin/serve", "--cluster", "--bind", f"127.0.0.1:{port}"],
        env=clean_environment(venv=venv, data_dir=data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            one = Shown(process, data_dir, port, "")
            one.read_until("Started again")
            yield one
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_the_readme_kills_a_receiver_and_the_primary_and_every_episode_is_there_once(tmp_path: Path) -> None:
    for program in ("haproxy", "curl", "jq", "zstd"):
        need(program)
    section = (ROOT / "README.md").read_text().partition("## Past one machine")[2].partition("\n## ")[0]
    serve, ship = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert serve.split()[:2] == ["bin/serve", "--cluster"]
    data_dir = tmp_path / "data"
    with shown(data_dir) as cluster:
        folders = set(re.findall(r"PostgreSQL in (\S+)/[ab]$", cluster.said, re.MULTILINE))
        try:
            commands = ship.replace("127.0.0.1:8490", f"127.0.0.1:{cluster.port}")
            commands = commands.replace(".venv/bin", str(Path(sys.executable).parent))
            done = subprocess.run(
                ["bash", "-mec", commands], cwd=tmp_path, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, (done.stderr, cluster.said)
            assert done.stdout.split() == [str(EPISODES), str(EPISODES)]
            cluster.read_until("commits are taken again")
            assert "receiver-2 is gone" in cluster.said
            index = cluster.receiver(0).request("GET", "/v1/index.jsonl").body
            for number in (1, 3):
                assert cluster.receiver(number).request("GET", "/v1/index.jsonl").body == index
            for line in map(json.loads, index.splitlines()):
                path = f"/v1/episodes/lab-1/{line['episode_id']}.tar.zst"
                body = cluster.receiver(0).request("GET", path).body
                assert hashlib.sha256(body).hexdigest() == line["sha256"]
        finally:
            # Stopped before its data is deleted.
            cluster.process.send_signal(signal.SIGINT)
            cluster.process.wait(60)
            for folder in folders:
                shutil.rmtree(folder)
    left = subprocess.run(["pgrep", "-f", str(data_dir)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_haproxys_file_is_one_that_haproxy_takes() -> None:
    haproxy = need("haproxy")
    done = subprocess.run(
        [haproxy, "-c", "-f", ROOT / "etc/haproxy/haproxy.cfg"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

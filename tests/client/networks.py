"""Two network namespaces with a wire between them, whose packets can be lost and which can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import need

NAME = "receiver.lab.internal"
RECEIVER_ADDRESS = "10.49.0.1"
LAB_ADDRESS = "10.49.0.2"
_DEVICE = "wire"


@dataclass(frozen=True)
class End:
    """One end of the wire: a network of its own, in which commands can be run."""

    enter: tuple[str, ...]

    def run(self, *command: str) -> str:
        """Run a command in this network; gives what it prints."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def drop_arriving(self, *match: str) -> None:
        """From now on drop what arrives and `match`es, or everything. As packets that have arrived are dropped, neither
        end is told."""
        self.run(need("nft"), "add", "rule", "inet", "test", "arriving", *match, "counter", "drop")

    def drop_nothing(self) -> None:
        self.run(need("nft"), "flush", "chain", "inet", "test", "arriving")

    def dropped(self) -> int:
        """How many packets were dropped by the rules in force."""
        listed = json.loads(self.run(need("nft"), "--json", "list", "chain", "inet", "test", "arriving"))
        rules = [item["rule"]["expr"] for item in listed["nftables"] if "rule" in item]
        return sum(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)


@dataclass(frozen=True)
class Wire:
    """Both ends."""

    lab: End
    receiver: End

    def lose(self, percent: int) -> None:
        """Lose packets at random in both directions."""
        for end in (self.lab, self.receiver):
            end.drop_arriving("numgen", "random", "mod", "100", "<", str(percent))

    def throttle(self, rate: str) -> None:
        """Let no more than `rate` (tc-tbf(8)) through to the receiver."""
        tbf = ("tbf", "rate", rate, "burst", "32kb", "latency", "50ms")
        self.lab.run(need("tc"), "qdisc", "replace", "dev", _DEVICE, "root", *tbf)

    def throttle_no_more(self) -> None:
        self.lab.run(need("tc"), "qdisc", "del", "dev", _DEVICE, "root")

    def swallow(self) -> None:
        """Cut it so that nobody notices: whatever is sent, either way, is gone."""
        self.lab.drop_arriving()
        self.receiver.drop_arriving()

    def swallow_no_more(self) -> None:
        self.lab.drop_nothing()
        self.receiver.drop_nothing()

    def lose_route(self) -> None:
        """Let the lab host's kernel say at once that there is no way, as WireGuard does without a peer."""
        self.lab.run(need("ip"), "route", "add", "unreachable", f"{RECEIVER_ADDRESS}/32")

    def find_route(self) -> None:
        self.lab.run(need("ip"), "route", "del", "unreachable", f"{RECEIVER_ADDRESS}/32")

    def unplug(self) -> None:
        """Cut it so that the lab host sees its link go."""
        self.lab.run(need("ip"), "link", "set", _DEVICE, "down")

    def plug_in(self) -> None:
        self.lab.run(need("ip"), "link", "set", _DEVICE, "up")


@contextlib.contextmanager
def wire(folder: Path) -> Iterator[Wire]:
    """Two networks that know only each other; the lab's knows the receiver by `NAME`. They end with the block, and with
    this process, however that ends."""
    ip, nft = need("ip"), need("nft")
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{RECEIVER_ADDRESS} {NAME}\n")
    with _namespace(hosts) as lab, _namespace(hosts) as receiver:
        ends = [End(_enter(holder)) for holder in (lab, receiver)]
        peer = ("peer", "name", _DEVICE, "netns", str(receiver.pid))
        ends[0].run(ip, "link", "add", "name", _DEVICE, "type", "veth", *peer)
        for end, address in zip(ends, (LAB_ADDRESS, RECEIVER_ADDRESS), strict=True):
            end.run(ip, "address", "add", f"{address}/24", "dev", _DEVICE)
            end.run(ip, "link", "set", _DEVICE, "up")
            end.run(nft, "add", "table", "inet", "test")
            hook = "{ type filter hook input priority 0; }"
            end.run(nft, "add", "chain", "inet", "test", "arriving", hook)
        yield Wire(*ends)


def _enter(holder: subprocess.Popen[bytes]) -> tuple[str, ...]:
    return (need("nsenter"), f"--target={holder.pid}", "--net", "--mount", "--")


@contextlib.contextmanager
def _namespace(hosts: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a network, and a view of the files with `hosts` as /etc/hosts, until its input ends."""
    hold = 'mount --bind "$1" /etc/hosts && ip link set lo up && echo ready && exec cat'
    command = [need("unshare"), "--net", "--mount", "sh", "-c", hold, "x", str(hosts)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != b"ready\n":
                _no_leave(holder.stderr)
            yield holder
        finally:
            holder.kill()


def _no_leave(stderr: IO[bytes] | None) -> None:
    said = stderr.read().decode(errors="replace").strip() if stderr else ""
    message = f"needs leave to make network namespaces (root): {said}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)

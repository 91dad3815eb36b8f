"""Shipper and receiver in networks of their own, over a wire that loses packets or is cut in the middle of an upload.

Packets are lost by nft and not by netem, which many kernels (those of containers and small boards) are built without:
nft's random number decides about each packet that arrives, in both directions, and its counter says that it did.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client.hosts import Lab
from tests.client.networks import NAME, RECEIVER_ADDRESS, Wire, wire
from tests.client.site import Site, has_each_once, serving
from tests.client.waiting import until
from tests.conftest import need
from tests.support.archives import make_episode

StartShipper = Callable[[Lab], "subprocess.Popen[bytes]"]
LOST_PERCENT = 10
EPISODES = 20


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Wire]:
    with wire(tmp_path) as made:
        yield made


@pytest.fixture
def site(cable: Wire, tmp_path: Path) -> Iterator[Site]:
    """The receiver's end of the wire. It has one thread, so that one that is held is one too many."""
    limits = {"workers": 1, "threads": 1, "body_idle_seconds": 1}
    with serving(
        Site(tmp_path / "site", name=NAME, address=(RECEIVER_ADDRESS, 443), **limits), *cable.receiver.enter
    ) as made:
        yield made


@pytest.fixture
def lab(cable: Wire, site: Site, tmp_path: Path) -> Lab:
    """The lab host's end."""
    shown = site.ours.issue("lab-a", "clientAuth")
    made = site.lab(tmp_path / "lab", "lab-a", shown=shown, connect_seconds=2, idle_seconds=2)
    made.wrapper = cable.lab.enter
    return made


def test_over_a_wire_that_loses_packets_each_episode_arrives_once(
    cable: Wire, site: Site, lab: Lab, start_shipper: StartShipper
) -> None:
    cable.lose(LOST_PERCENT)
    archives = {f"run-{n:02}": make_episode(n, size=4 << 20 if n == 7 else 20_000) for n in range(EPISODES)}
    for name, archive in archives.items():
        lab.record(name, archive)
    start_shipper(lab)
    until(lambda: not lab.names(), "an empty spool")
    assert has_each_once(site.receiver, "lab-a", archives)
    assert (lab.names("refused"), len(lab.names("shipped"))) == (set(), EPISODES)
    assert cable.lab.dropped() > 0 and cable.receiver.dropped() > 0
    assert site.receiver.incoming() == []


@pytest.mark.parametrize(
    ("cut", "mend"),
    [(Wire.unplug, Wire.plug_in), (Wire.swallow, Wire.swallow_no_more)],
    ids=["seen", "unseen"],
)
def test_a_wire_that_is_cut_in_the_middle_of_an_upload_costs_nothing_but_time(
    cable: Wire,
    site: Site,
    lab: Lab,
    start_shipper: StartShipper,
    cut: Callable[[Wire], None],
    mend: Callable[[Wire], None],
) -> None:
    receiver = site.receiver
    incoming = receiver.data_dir / "incoming"
    archives = {"large": make_episode(1, size=6 << 20), "small": make_episode(2)}
    cable.throttle("16mbit")
    for name, archive in archives.items():
        lab.record(name, archive)
    start_shipper(lab)

    def arrived() -> int:
        return sum(path.stat().st_size for path in incoming.iterdir())

    until(lambda: arrived() > 1 << 20, "the first megabyte")
    cut(cable)
    # Each end gives up by itself, while nothing goes through: the receiver's only thread is free for others, ...
    until(lambda: receiver.incoming() == [], "an upload that the receiver gave up", seconds=15)
    assert receiver.put("lab-b", "meanwhile", make_episode(3), timeout=5).status == 201
    # ... and the shipper knows that it waits.
    until(lambda: " waiting " in lab.log(), "a shipper that waits", seconds=15)
    assert lab.names() == {f"{name}.tar.zst" for name in archives}
    cable.throttle_no_more()
    mend(cable)
    until(lambda: not lab.names(), "an empty spool", seconds=30)
    arrivals = [line for line in receiver.index() if line["host_id"] == "lab-a"]
    assert sorted((line["episode_id"], line["sha256"]) for line in arrivals) == sorted(
        (name, archive.sha256) for name, archive in archives.items()
    )
    assert (lab.names("refused"), len(lab.names("shipped"))) == (set(), 2)
    assert receiver.incoming() == []


@dataclass(frozen=True)
class Sent:
    """What the shipper's kernel knows of its connection: bytes that the other end has acknowledged, and has not yet."""

    acknowledged: int
    unacknowledged: int

    @classmethod
    def over(cls, cable: Wire) -> Sent:
        listed = cable.lab.run(need("ss"), "-Htin", "state", "established")
        found = re.search(r"^\d+ +(\d+) .*?bytes_acked:(\d+)", listed, re.DOTALL)
        return cls(int(found[2]), int(found[1])) if found else cls(0, 0)


@pytest.mark.parametrize("lost", ["the last bytes", "the answer", "the route"])
def test_a_silence_after_everything_has_left_is_noticed_as_soon(
    cable: Wire, site: Site, lab: Lab, start_shipper: StartShipper, lost: str
) -> None:
    receiver, archive = site.receiver, make_episode(1, size=60_000)
    assert receiver.process is not None
    # The kernel takes all of so small a file at once, so that the shipper has nothing to do but wait.
    lab.record("one", archive)
    if lost == "the last bytes":
        cable.throttle("64kbit")
        start_shipper(lab)
        until(lambda: Sent.over(cable).acknowledged > 10_000, "a body on its way")
        assert Sent.over(cable).unacknowledged > 0
    else:
        os.killpg(receiver.process.pid, signal.SIGSTOP)
        start_shipper(lab)
        until(lambda: Sent.over(cable).acknowledged > len(archive.data), "a body that has arrived")
    (Wire.lose_route if lost == "the route" else Wire.swallow)(cable)
    until(lambda: " waiting " in lab.log(), "a shipper that noticed", seconds=15)
    os.killpg(receiver.process.pid, signal.SIGCONT)
    if lost == "the last bytes":
        cable.throttle_no_more()
    (Wire.find_route if lost == "the route" else Wire.swallow_no_more)(cable)
    until(lambda: lab.names("shipped") == {"one.tar.zst"}, "shipping", seconds=30)
    assert has_each_once(receiver, "lab-a", {"one": archive})
    assert lab.names("refused") == set()
    assert receiver.incoming() == []

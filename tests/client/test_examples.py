"""Each help of the lab host's programs ends with an example, and each example works."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click

from cis490_receiver.client.cli import main
from tests.client.hosts import Lab
from tests.support.archives import make_episode
from tests.support.receiver import BIN, Receiver

PROGRAMS = [
    ("cis490-shipper",),
    *(("cis490-shipper", name) for name in sorted(main.commands)),
    ("cis490-doctor",),
    ("cis490-ship-health",),
]
#: What needs a clone of the orchestrator, or an authority, to be content.
SAID_TO_BE_AMISS = {("cis490-doctor",), ("cis490-shipper", "autoupdate"), ("cis490-shipper", "cert-fetch")}


def test_every_example_does_what_it_should(receiver: Receiver, tmp_path: Path) -> None:
    assert isinstance(main, click.Group)
    lab = Lab.of(tmp_path / "lab", receiver)
    environment = lab.environment | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    (lab.folder / "run-0001.tar.zst").write_bytes(make_episode(1).data)
    for words in PROGRAMS:
        shown = lab.run(*words, "--help").stdout
        *_, heading, line = shown.rstrip().splitlines()
        assert heading.strip() == "Example:", words
        assert line.split()[: len(words)] == list(words)
        done = subprocess.run(
            ["bash", "-euc", line], cwd=lab.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode in ((0, 1) if words in SAID_TO_BE_AMISS else (0,)), (
            f"{line}: {done.stdout}{done.stderr}"
        )
        assert "Usage:" not in done.stderr
    assert [line["episode_id"] for line in receiver.index()] == ["run-0001"]

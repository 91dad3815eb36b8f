"""Each help ends with an example, and each example works."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cis490_receiver.commands import main
from tests.gate.repos import World
from tests.support.archives import make_episode
from tests.support.receiver import BIN, Receiver, clean_environment

Words = tuple[str, ...]


def commands(command: click.Command, path: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """The command and all below it, with their words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name="x")
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


ALL = dict(commands(main))


def example_of(path: Words) -> str:
    """The last line of its help."""
    done = subprocess.run(
        [BIN / "cis490-receiver", *path, "--help"], capture_output=True, text=True, check=True
    )
    *_, heading, line = done.stdout.rstrip().splitlines()
    assert heading.strip() == "Example:"
    return line.strip()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver without a token."""
    receiver = Receiver(tmp_path / "data", tmp_path / "log")
    del receiver.settings["bearer_token"]
    receiver.start()
    yield receiver
    receiver.end()


def test_every_example_does_what_it_should(fleet: Receiver, tmp_path: Path) -> None:
    world = World(tmp_path / "git")
    commit = world.maintainer.head()
    episode = make_episode(1, meta={"code_commit": commit})
    said = {"X_Cis490_Code_Commit": commit, "X_Episode_Type": "control", "X_Benign_Profile": "idle"}
    assert fleet.put("lab-07", "run-1", episode, **said).status == 201
    settings = fleet.settings | {
        "gate_repo": world.clone("receiver").path,
        "tokens_file": tmp_path / "tokens.toml",
        "syslog_address": "",
    }
    environment = clean_environment(**settings) | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    # Serving goes on and on; a group shows the example of one below it; tests/cluster has those of a cluster.
    of_cluster = (("doctor-cluster",), ("migrate",), ("migrate-schema",))
    others = ((), ("serve",), ("host",), ("token",), *of_cluster)
    running = [path for path in ALL if path not in others]
    # The list of commits and the token that others look at.
    running.sort(key=lambda path: path not in (("gate-refresh",), ("token", "add")))
    for path in running:
        line = example_of(path)
        words = shlex.split(line)
        assert words[: 1 + len(path)] == ["cis490-receiver", *path]
        done = subprocess.run(
            ["bash", "-euc", line.replace("127.0.0.1:8490", f"127.0.0.1:{fleet.port}")],
            cwd=world.maintainer.path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert (world.maintainer.path / "last-week.csv").read_text().count("\nlab-07,") == 1
    assert [path.name for path in (world.maintainer.path / "episodes").rglob("*.zst")] == ["run-1.tar.zst"]


def test_the_demonstration_of_the_first_help_works(tmp_path: Path) -> None:
    environment = clean_environment(bind="127.0.0.1:18497", data_dir=tmp_path / "data")
    environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", example_of(())], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "201 CREATED" in done.stdout

"""How a release is named on a command line, and told of in a line."""

from __future__ import annotations

import click

from cis490_receiver import page
from cis490_receiver.backends import Backends
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commands.shared import parse_release
from cis490_receiver.index.base.releases import OpenRelease, Release

name_argument = click.argument("name", callback=parse_release)


def require(backends: Backends, name: str) -> Release:
    """The release `name`.

    Raises:
        Failure: there is none.
    """
    release = backends.releases.find(name)
    if release is None:
        raise _none(name)
    return release


def opened(backends: Backends, name: str) -> OpenRelease:
    """The release `name`, to be read.

    Raises:
        Failure: there is none.
    """
    found = backends.releases.open(name)
    if found is None:
        raise _none(name)
    return found


def _none(name: str) -> Failure:
    return Failure(f"there is no release {name}; cis490-receiver release list shows all", "no-such-release")


def amount(episodes: int, size_bytes: int, hosts: int) -> str:
    """How many episodes, bytes and hosts, for people."""
    many = "episode" if episodes == 1 else "episodes"
    return f"{episodes} {many}, {page.size(size_bytes)}, of {hosts} {'host' if hosts == 1 else 'hosts'}"

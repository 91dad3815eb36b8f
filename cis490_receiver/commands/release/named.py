"""How a release is named on a command line, and told of in a line."""

from __future__ import annotations

import click

from cis490_receiver import page, protocol
from cis490_receiver.backends import Backends
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.index.base.releases import OpenRelease, Release


def parse_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Raises:
    BadParameter: no release can have this name.
    """
    name = value.removesuffix(".jsonl")
    if not protocol.is_valid_id(name):
        raise click.BadParameter(
            "1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit, no ..", ctx, param
        )
    return name


name_argument = click.argument("name", callback=parse_name)


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

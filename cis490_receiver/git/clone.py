"""What both ends ask of a clone: its remotes, what is new there, and what a name stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cis490_receiver.git.failures import FetchFailed, RemoteUnreachable
from cis490_receiver.git.runner import Git, reason

#: What git says when the network, not the clone, is at fault.
_NETWORK: Final = re.compile(
    r"unable to access|Could not read from remote|Could not resolve|timed out|Connection (refused|reset)|ssh:"
)


def command_to_make(path: Path) -> str:
    """What a person runs to make the clone that a receiver reads: without a work tree, which nobody there looks at."""
    return f"git clone --bare <url> {path}"


def remotes(git: Git) -> Sequence[str]:
    """The names of the remotes."""
    return git.run("remote").stdout.split()


def fetch(git: Git, remote: str, *refspecs: str, options: Sequence[str] = (), seconds: float) -> None:
    """Bring what the clone has of `remote` up to date, and forget what is gone there.

    Raises:
        RemoteUnreachable, GitTimeout: it did not answer.
        FetchFailed: it, or the clone, is not as it should be.
    """
    done = git.run("fetch", "--quiet", "--prune", *options, remote, *refspecs, seconds=seconds)
    if done.returncode == 0:
        return
    failure = RemoteUnreachable if _NETWORK.search(done.stderr) else FetchFailed
    raise failure(remote, reason(done.stderr))


def object_id(git: Git, name: str) -> str | None:
    """The id of the object that `name` stands for; None when it stands for nothing."""
    done = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    return done.stdout.strip() if done.returncode == 0 else None

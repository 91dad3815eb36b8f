"""What several commands have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cis490_receiver import protocol
from cis490_receiver.config import Settings
from cis490_receiver.errors import ReceiverError

if TYPE_CHECKING:
    from cis490_receiver.backends import Backends


class NoIndex(ReceiverError):
    """There are episodes, and no index.jsonl."""

    code = "no-index"


def use_place(settings: Settings) -> Backends:
    """What a receiver keeps, as it is, for a command that makes none of it.

    Raises:
        ConfigError: the place is none, or not ours to use.
    """
    # Imports SQLite, which a command that merely has these options may not need.
    from cis490_receiver.backends import use_backends

    backends = use_backends(settings)
    context = click.get_current_context(silent=True)
    backends.place.check(context.info_name or "…" if context else "…")
    return backends


def use_episodes(settings: Settings) -> Backends:
    """`use_place`, for a command that needs what a receiver keeps there.

    Raises:
        ConfigError: no receiver ever kept anything there, or as `use_place`.
    """
    backends = use_place(settings)
    backends.place.check_used()
    return backends


def use_index(settings: Settings) -> Backends:
    """`use_episodes`, for a command that reads the index.

    Raises:
        NoIndex: there is none.
        ConfigError: as `use_episodes`.
    """
    backends = use_episodes(settings)
    require_index(backends)
    return backends


def parse_release(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The name of a release, or of its table.

    Raises:
        BadParameter: no release can have it.
    """
    name = value and value.removesuffix(".jsonl")
    if name is not None and not protocol.is_valid_id(name):
        raise click.BadParameter(
            "1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit, no ..", ctx, param
        )
    return name


def parse_sha256(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Raises:
    BadParameter: no SHA-256.
    """
    digest = value and value.lower()
    if digest is not None and not protocol.is_sha256(digest):
        raise click.BadParameter("64 hex digits", ctx, param)
    return digest


def require_index(backends: Backends) -> None:
    """Raises:
    NoIndex: there is no index.
    """
    if not backends.place.has_index():
        raise NoIndex(f"there is no index.jsonl in {backends.place.name}; run: cis490-receiver reindex")

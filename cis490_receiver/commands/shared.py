"""What several commands have in common."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError, ReceiverError

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


class NoIndex(ReceiverError):
    """There are episodes, and no index.jsonl."""

    code = "no-index"


@contextlib.contextmanager
def progress(label: str, *, show: bool) -> Iterator[Callable[[int], None]]:
    """A line on a terminal's standard error that says how many files and bytes are done; give the yielded
    function the bytes of each file. Silent where standard error is no terminal."""
    if not show or not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    started, files, total, shown_at = time.monotonic(), 0, 0, 0.0

    def advance(size_bytes: int) -> None:
        nonlocal files, total, shown_at
        files, total = files + 1, total + size_bytes
        now = time.monotonic()
        if now - shown_at >= 0.1:
            shown_at = now
            rate = total / max(now - started, 0.001) / 1e6
            click.echo(
                f"\r{label}: {files} files, {total / 1e9:.2f} GB, {rate:.0f} MB/s ", nl=False, err=True
            )

    try:
        yield advance
    finally:
        if shown_at:
            click.echo("\r\x1b[K", nl=False, err=True)


def data_folder(settings: Settings) -> Path:
    """The data folder, which a command uses and never makes: a mistyped name must not start an empty one.

    Raises:
        ConfigError: there is none, or it is not ours to use: what root writes in another user's folder, the
            receiver could not read.
    """
    folder = settings.data_dir
    if not folder.is_dir():
        raise ConfigError(
            f"data_dir is {folder}, which is not a folder; start the receiver once, or name the folder that "
            "it uses in data_dir or CIS490_DATA_DIR"
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(
            f"data_dir is {folder}, which this user may not read; run this as the receiver's user"
        )
    owner = folder.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        context = click.get_current_context(silent=True)
        command = context.info_name if context else "…"
        raise ConfigError(
            f"this is root, but {folder} belongs to user {_name_of(owner)}; run: "
            f"sudo -u '{_name_of(owner)}' cis490-receiver {command}"
        )
    return folder


def episodes_folder(settings: Settings) -> Path:
    """The data folder, for a command that needs what a receiver keeps in it.

    Raises:
        ConfigError: no receiver ever kept anything in it, or as `data_folder`.
    """
    folder = data_folder(settings)
    if not (folder / "episodes").is_dir():
        raise ConfigError(
            f"data_dir is {folder}, in which there is no episodes/: no receiver keeps its data there; start the "
            "receiver once, or name the folder that it uses in data_dir or CIS490_DATA_DIR"
        )
    return folder


def index_folder(settings: Settings) -> Path:
    """The data folder, for a command that reads the index.

    Raises:
        NoIndex: it has none.
        ConfigError: as `episodes_folder`.
    """
    folder = episodes_folder(settings)
    if not (folder / "index.jsonl").exists():
        raise NoIndex(f"there is no index.jsonl in {folder}; run: cis490-receiver reindex")
    return folder


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"

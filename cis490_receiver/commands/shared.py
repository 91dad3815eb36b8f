"""What several commands have in common."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import click

from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError, ReceiverError, StorageFailed

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


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


def fail(what: str, exc: ReceiverError | OSError, *, as_json: bool, hint: str = "") -> NoReturn:
    """End the command with exit status 1, saying `what` went wrong and why: to people, and with `as_json` to
    machines too."""
    sentence = f"{what}: {exc.__cause__ or exc}{hint and '; '}{hint}"
    click.echo(sentence, err=True)
    if as_json:
        code = exc.code if isinstance(exc, ReceiverError) else StorageFailed.code
        click.echo(json.dumps({"error": sentence, "code": code}))
    raise SystemExit(1)


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


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"

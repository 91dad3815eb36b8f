"""What several commands have in common."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import click

from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError, ReceiverError


class NoIndex(ReceiverError):
    """There are episodes, and no index.jsonl."""

    code = "no-index"


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

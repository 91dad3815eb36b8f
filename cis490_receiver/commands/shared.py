"""What several commands have in common."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def data_folder(settings: Settings) -> Path:
    """The data folder, which a command uses and never makes: a mistyped name must not start an empty one.

    Raises:
        ConfigError: there is none, or it is not ours to use.
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
    return folder

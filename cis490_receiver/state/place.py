"""The data folder, which a command uses and never makes: a mistyped name must not start an empty one."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from cis490_receiver.errors import ConfigError


class DataFolder:
    """See `state.base.place.Place`."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir

    @property
    def name(self) -> str:
        """See `Place.name`."""
        return str(self._folder)

    def check(self, command: str) -> None:
        """See `Place.check`. What root writes in another user's folder, the receiver could not read."""
        if not self._folder.is_dir():
            raise ConfigError(
                f"data_dir is {self._folder}, which is not a folder; start the receiver once, or name the folder that "
                "it uses in data_dir or CIS490_DATA_DIR"
            )
        if not os.access(self._folder, os.R_OK | os.X_OK):
            raise ConfigError(
                f"data_dir is {self._folder}, which this user may not read; run this as the receiver's user"
            )
        owner = self._folder.stat().st_uid
        if os.geteuid() == 0 and owner != 0:
            raise ConfigError(
                f"this is root, but {self._folder} belongs to user {_name_of(owner)}; run: "
                f"sudo -u '{_name_of(owner)}' cis490-receiver {command}"
            )

    def check_used(self) -> None:
        """See `Place.check_used`."""
        if not (self._folder / "episodes").is_dir():
            raise ConfigError(
                f"data_dir is {self._folder}, in which there is no episodes/: no receiver keeps its data there; start "
                "the receiver once, or name the folder that it uses in data_dir or CIS490_DATA_DIR"
            )

    def has_index(self) -> bool:
        """See `Place.has_index`."""
        return (self._folder / "index.jsonl").exists()


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"

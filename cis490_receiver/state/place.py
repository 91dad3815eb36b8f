"""The data folder, which a command uses and never makes: a mistyped name must not start an empty one."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from cis490_receiver.errors import ConfigError
from cis490_receiver.files.in_use import InUse
from cis490_receiver.state import moving


class DataFolder:
    """See `state.base.place.Place`."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir
        self._use: InUse | None = None

    @property
    def name(self) -> str:
        """See `Place.name`."""
        return str(self._folder)

    def check(self, command: str) -> None:
        """See `Place.check`."""
        check_access(self._folder, command)
        self.use()

    def use(self) -> None:
        """Use it from here on, so that nobody moves it away meanwhile.

        Raises:
            ConfigError: it was moved away, or is being moved.
        """
        try:
            self._use = InUse(self._folder)
            moved = moving.read(self._folder)
        except BlockingIOError:
            error = ConfigError(
                f"data_dir is {self._folder}, which `cis490-receiver migrate` is moving at this moment; wait for it"
            )
            error.may_pass = True
            raise error from None
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"data_dir is {self._folder}, and its {moving.FILE_NAME} cannot be read ({exc}); everything may have "
                "been moved to a cluster: find out before you delete that file"
            ) from exc
        if moved is not None and moved.is_closed:
            option = "--to" if moved.state == "filling" else "--from"
            raise ConfigError(f"data_dir is {self._folder}, {moved.told(f'{option} {self._folder}')}")

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


def check_access(folder: Path, command: str) -> None:
    """See whether this user may work in `folder`. What root writes in another user's, the receiver could not read.

    Raises:
        ConfigError: it is none, or not ours to use.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"data_dir is {folder}, which is not a folder; start the receiver once, or name the folder that it uses in "
            "data_dir or CIS490_DATA_DIR"
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(
            f"data_dir is {folder}, which this user may not read; run this as the receiver's user"
        )
    owner = folder.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise ConfigError(
            f"this is root, but {folder} belongs to user {_name_of(owner)}; run: "
            f"sudo -u '{_name_of(owner)}' cis490-receiver {command}"
        )


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"

"""The database as the place where the receivers of many machines keep everything."""

from __future__ import annotations

from pathlib import Path

from cis490_receiver.errors import ConfigError
from cis490_receiver.postgres import schema
from cis490_receiver.state.base.moving import Moving
from cis490_receiver.state.place import check_access


class ClusterPlace:
    """See `state.base.place.Place`. This machine has but a copy of the lines, in `data_dir`."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self._data_dir = data_dir
        self._url = url

    @property
    def name(self) -> str:
        """See `Place.name`."""
        return "the cluster that database_url and objects_url name"

    def check(self, command: str) -> None:
        """See `Place.check`. A machine without a receiver has no folder, and one is made."""
        if self._data_dir.exists():
            check_access(self._data_dir, command)

    def check_used(self) -> None:
        """See `Place.check_used`.

        Raises:
            ConfigError: the database cannot be used, or everything is on its way to another place or from there.
        """
        closed_for = schema.check(self._url)
        if closed_for is None:
            return
        try:
            moving = Moving.from_json(closed_for.encode())
        except ValueError:
            raise ConfigError(f"database_url: the cluster is closed: {closed_for}") from None
        option = "--from" if moving.state == "filling" else "--to"
        raise ConfigError(f"database_url names a cluster {moving.told(f'{option} {moving.folder}')}")

    def has_index(self) -> bool:
        """See `Place.has_index`: the tables have one from the beginning."""
        return True

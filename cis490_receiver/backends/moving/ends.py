"""Which place is which end."""

from __future__ import annotations

from pathlib import Path

from cis490_receiver.backends.moving.cluster import ClusterDestination, ClusterOrigin
from cis490_receiver.backends.moving.folder import FolderDestination, FolderOrigin, settings_of
from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.upkeep.migrate.base import Destination, Origin


def ends(
    settings: Settings, source: Path | None, target: Path | None, clock: Clock
) -> tuple[Origin, Destination]:
    """From the folder `source` to the cluster that `settings` name, or from there to the folder `target`.

    Raises:
        ConfigError: one of both cannot be used.
    """
    if source is not None:
        return FolderOrigin(settings_of(source.absolute(), settings), clock), ClusterDestination(
            settings, clock
        )
    assert target is not None
    return ClusterOrigin(settings, clock), FolderDestination(settings_of(target.absolute(), settings), clock)

"""Open the places that a configuration names."""

from __future__ import annotations

import os
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError
from cis490_receiver.files import atomic
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.reports import ReportFolder
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.storage.inventory import FilesystemInventory

_OWN_FOLDERS: Final = frozenset({"episodes", "incoming", "quarantine"})


def open_backends(settings: Settings) -> tuple[FilesystemStore, LocalIndex]:
    """The local store and index under ``data_dir``, their folders and files made when absent.

    Raises:
        ConfigError: they cannot be made, or not be written.
    """
    folder = settings.data_dir
    store = FilesystemStore(folder)
    index = LocalIndex(folder)
    try:
        atomic.make_folder(folder)
        store.prepare()
        index.prepare()
    except OSError as exc:
        raise ConfigError(_cannot(settings, exc.strerror or "failed")) from exc
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(_cannot(settings, "not writable"))
    return store, index


def use_backends(settings: Settings) -> tuple[FilesystemStore, LocalIndex]:
    """The local store and index as they are, nothing made."""
    return FilesystemStore(settings.data_dir), LocalIndex(settings.data_dir)


def use_inventory(settings: Settings) -> FilesystemInventory:
    """The local store, to be looked at without being read."""
    return FilesystemInventory(settings.data_dir)


def open_reports(settings: Settings) -> ReportFolder | None:
    """The folder of the doctor reports, made when absent; None when none is configured.

    Raises:
        ConfigError: it cannot be made.
    """
    if settings.reports_folder is None:
        return None
    data, folder = settings.data_dir.resolve(), settings.reports_folder.resolve()
    if data.is_relative_to(folder) or (folder.parent == data and folder.name in _OWN_FOLDERS):
        raise ConfigError(
            f"health_dir is {settings.reports_folder}, where other things of the receiver are; name a folder of its own"
        )
    reports = ReportFolder(settings.reports_folder)
    try:
        reports.prepare()
    except OSError as exc:
        raise ConfigError(
            f"health_dir is {settings.reports_folder}, which cannot be written ({exc.strerror}); name another"
        ) from exc
    return reports


def _cannot(settings: Settings, why: str) -> str:
    return (
        f"data_dir is {settings.data_dir}, which cannot be written ({why}); create it, give it to the user "
        "that runs the receiver, or name another folder in data_dir or CIS490_DATA_DIR"
    )

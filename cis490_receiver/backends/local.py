"""A receiver that keeps everything on the disk of its machine, under ``data_dir``."""

from __future__ import annotations

import os
from typing import Final

from cis490_receiver.backends.everything import Backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError
from cis490_receiver.files import atomic, in_use
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.rejections import RejectionFile
from cis490_receiver.index.releases import ReleaseFolder
from cis490_receiver.index.reports import ReportFolder
from cis490_receiver.index.withdrawals import WithdrawalFile
from cis490_receiver.state.alerts import AlertFile
from cis490_receiver.state.codes import CodeFile
from cis490_receiver.state.gate_list import GATE_FILE, GateFile
from cis490_receiver.state.inspections import InspectionFile
from cis490_receiver.state.marks import (
    PRESENCE_FILE,
    RELEASE_VERIFY_FILE,
    VERIFY_FILE,
    HeartbeatFile,
    MemoFile,
)
from cis490_receiver.state.mutes import MuteFile
from cis490_receiver.state.outbox import AlertOutbox
from cis490_receiver.state.place import DataFolder
from cis490_receiver.state.retirements import RetirementFile
from cis490_receiver.state.session_key import SessionKeyFile
from cis490_receiver.state.tokens import TokenFile
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.storage.inventory import FilesystemInventory
from cis490_receiver.storage.partials import FilesystemPartials

_OWN_FOLDERS: Final = frozenset({"episodes", "incoming", "quarantine", "receipts", "releases"})


def open_local(settings: Settings) -> Backends:
    """What a receiver works with, made when absent.

    Raises:
        ConfigError: something cannot be made, or not be written, or everything was moved to another place.
    """
    folder = settings.data_dir
    store, index, reports = FilesystemStore(folder), LocalIndex(folder), _reports(settings)
    place = DataFolder(folder)
    try:
        atomic.make_folder(folder)
        in_use.prepare(folder)
        place.use()
        store.prepare()
        FilesystemPartials(folder).prepare()
        index.prepare()
    except OSError as exc:
        raise ConfigError(_cannot(settings, exc.strerror or "failed")) from exc
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(_cannot(settings, "not writable"))
    if reports is not None:
        try:
            reports.prepare()
        except OSError as exc:
            raise ConfigError(
                f"health_dir is {settings.reports_folder}, which cannot be written ({exc.strerror}); name another"
            ) from exc
    return _put_together(settings, place, store, index, reports)


def use_local(settings: Settings) -> Backends:
    """The same as they are, nothing made: for commands.

    Raises:
        ConfigError: health_dir is a folder for other things.
    """
    folder = settings.data_dir
    place, store = DataFolder(folder), FilesystemStore(folder)
    return _put_together(settings, place, store, LocalIndex(folder), _reports(settings))


def _put_together(
    settings: Settings,
    place: DataFolder,
    store: FilesystemStore,
    index: LocalIndex,
    reports: ReportFolder | None,
) -> Backends:
    folder = settings.data_dir
    return Backends(
        place=place,
        clock=SystemClock(),
        store=store,
        partials=FilesystemPartials(folder),
        inventory=FilesystemInventory(folder),
        index=index,
        rejections=RejectionFile(folder),
        reports=reports,
        mutes=MuteFile(folder),
        retirements=RetirementFile(folder),
        heartbeat=HeartbeatFile(folder),
        faults=MemoFile(folder / PRESENCE_FILE),
        verify_place=MemoFile(folder / VERIFY_FILE),
        inspections=InspectionFile(folder),
        release_verify_place=MemoFile(folder / RELEASE_VERIFY_FILE),
        alerts=AlertFile(folder),
        outbox=AlertOutbox(folder),
        gate_list=GateFile(folder / GATE_FILE),
        tokens=TokenFile(settings.tokens_file) if settings.tokens_file else None,
        withdrawals=WithdrawalFile(folder),
        releases=ReleaseFolder(folder, index),
        session_key=SessionKeyFile(folder),
        codes=CodeFile(folder),
    )


def _reports(settings: Settings) -> ReportFolder | None:
    if settings.reports_folder is None:
        return None
    data, folder = settings.data_dir.resolve(), settings.reports_folder.resolve()
    if data.is_relative_to(folder) or (folder.parent == data and folder.name in _OWN_FOLDERS):
        raise ConfigError(
            f"health_dir is {settings.reports_folder}, where other things of the receiver are; name a folder of its own"
        )
    return ReportFolder(settings.reports_folder)


def _cannot(settings: Settings, why: str) -> str:
    return (
        f"data_dir is {settings.data_dir}, which cannot be written ({why}); create it, give it to the user "
        "that runs the receiver, or name another folder in data_dir or CIS490_DATA_DIR"
    )

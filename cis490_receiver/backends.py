"""Open the places that a configuration names: here alone it is picked what they are made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.errors import ConfigError
from cis490_receiver.files import atomic
from cis490_receiver.index.base import EpisodeIndex, RejectionLog, ReportStore, WithdrawalLog
from cis490_receiver.index.base.releases import Releases
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.rejections import RejectionFile
from cis490_receiver.index.releases import ReleaseFolder
from cis490_receiver.index.reports import ReportFolder
from cis490_receiver.index.withdrawals import WithdrawalFile
from cis490_receiver.state.alerts import AlertFile
from cis490_receiver.state.base.alerts import AlertLog, Outbox
from cis490_receiver.state.base.gate_list import GateList
from cis490_receiver.state.base.inspections import Inspections
from cis490_receiver.state.base.marks import Heartbeat, Memo
from cis490_receiver.state.base.notes import Mutes, Retirements
from cis490_receiver.state.base.place import Place
from cis490_receiver.state.base.signing_in import SessionKey, SignInCodes
from cis490_receiver.state.base.tokens import TokenList
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
from cis490_receiver.storage.base import EpisodeStore, Inventory
from cis490_receiver.storage.base.partials import Partials
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.storage.inventory import FilesystemInventory
from cis490_receiver.storage.partials import FilesystemPartials

_OWN_FOLDERS: Final = frozenset({"episodes", "incoming", "quarantine", "receipts", "releases"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """All that one receiver keeps. What each part promises stands at its class."""

    place: Place
    store: EpisodeStore
    #: Uploads in pieces.
    partials: Partials
    #: The same episodes, to be looked at without being read.
    inventory: Inventory
    index: EpisodeIndex
    rejections: RejectionLog
    #: None when no folder for reports is configured.
    reports: ReportStore | None
    mutes: Mutes
    retirements: Retirements
    heartbeat: Heartbeat
    #: What the fleet monitor found wrong with episodes.
    faults: Memo
    #: Where verify stopped.
    verify_place: Memo
    #: What inspection found, and where it is.
    inspections: Inspections
    #: Where the verification of a release stopped.
    release_verify_place: Memo
    alerts: AlertLog
    outbox: Outbox
    #: The version gate's.
    gate_list: GateList
    #: None when no file for tokens is configured.
    tokens: TokenList | None
    #: What is not to be trained on.
    withdrawals: WithdrawalLog
    #: Frozen tables of contents.
    releases: Releases
    #: What browsers' sessions are signed with, and what signs a browser in once.
    session_key: SessionKey
    codes: SignInCodes


def open_backends(settings: Settings) -> Backends:
    """What a receiver works with, made when absent: the local disk, under ``data_dir``.

    Raises:
        ConfigError: something cannot be made, or not be written.
    """
    folder = settings.data_dir
    store, index, reports = FilesystemStore(folder), LocalIndex(folder), _reports(settings)
    try:
        atomic.make_folder(folder)
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
    return _put_together(settings, store, index, reports)


def use_backends(settings: Settings) -> Backends:
    """The same as they are, nothing made: for commands.

    Raises:
        ConfigError: health_dir is a folder for other things.
    """
    folder = settings.data_dir
    return _put_together(settings, FilesystemStore(folder), LocalIndex(folder), _reports(settings))


def _put_together(
    settings: Settings, store: FilesystemStore, index: LocalIndex, reports: ReportFolder | None
) -> Backends:
    folder = settings.data_dir
    return Backends(
        place=DataFolder(folder),
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

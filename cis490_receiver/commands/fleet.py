"""What is known of the fleet at a moment, for the commands that judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cis490_receiver.backends import open_reports, use_backends
from cis490_receiver.commands.gate_refresh import read_gate_file
from cis490_receiver.config import Settings
from cis490_receiver.index.rejections import RejectionFile
from cis490_receiver.monitor.facts import Facts, gather
from cis490_receiver.monitor.retirements import RetirementFile
from cis490_receiver.policy.gate import GATE_FILE

QUARANTINE: Final = "quarantine"


def look(settings: Settings, now_ns: int) -> Facts:
    """Look at what was stored, refused, reported and said of hosts.

    Raises:
        ReceiverError, OSError: it could not be read.
    """
    folder = settings.data_dir
    store, index = use_backends(settings)
    return gather(
        now_ns=now_ns,
        settings=settings,
        index=index,
        store=store,
        rejections=RejectionFile(folder),
        reports=open_reports(settings),
        gate=read_gate_file(folder / GATE_FILE) if settings.gate_enabled else None,
        quarantined=_count_files(folder / QUARANTINE),
        retirements=RetirementFile(folder).all(),
    )


def _count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*.tar.zst")) if folder.is_dir() else 0

"""What the shipper found out about files that wait, remembered beside them: a file is read through once.

One small file an episode, in a folder of the spool's own. Each bears the inode, size and time of change of what was
looked at: a file that is another one by now is looked at again. Records are worth neither a sync nor an error: what is
lost, or cannot be written on a full disk, is found out again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from cis490_receiver.client.inspection import Findings
from cis490_receiver.client.pieces import Begun
from cis490_receiver.client.spool import Spool, Waiting, read_object

FOLDER: Final = ".checked"
_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True)
class Kept:
    """Why a file stays in the spool.

    Attributes:
        code: the kind of trouble, such as ``unfinished``.
        reason: a sentence.
    """

    code: str
    reason: str
    remedy: str = ""


class Records:
    """The records of one spool."""

    def __init__(self, spool: Spool) -> None:
        self._folder = spool.folder / FOLDER

    def findings(self, one: Waiting, check: str) -> Findings | None:
        """What `check` found in `one`; None where nothing is known."""
        record = self.read(one)
        found = record.get("findings")
        if not isinstance(found, dict) or record.get("check") != check:
            return None
        try:
            return Findings(
                sha256=str(found["sha256"]),
                headers={str(name): str(value) for name, value in found["headers"].items()},
                notes=tuple(str(note) for note in found["notes"]),
                members=found["members"],
                content_bytes=found["content_bytes"],
            )
        except (KeyError, TypeError, AttributeError):
            return None

    def kept(self, one: Waiting) -> Kept | None:
        """Why `one` stays; None where nothing is known against it."""
        told = self.read(one).get("kept")
        if not isinstance(told, dict):
            return None
        return Kept(*(str(told.get(name) or "") for name in ("code", "reason", "remedy")))

    def note_findings(self, one: Waiting, check: str, findings: Findings) -> None:
        """Remember what `check` found in `one`."""
        self.write(one, {"check": check, "findings": asdict(findings)})

    def doubted(self, one: Waiting) -> str | None:
        """The SHA-256 that `one` had when it was looked at last, where it is to be looked at again."""
        told = self.read(one).get("doubted")
        return told if isinstance(told, str) else None

    def note_doubt(self, one: Waiting, sha256: str) -> None:
        """What was found in `one` no longer holds; `sha256` is what it had."""
        self.write(one, {"doubted": sha256})

    def note_kept(self, one: Waiting, kept: Kept) -> None:
        """Remember why `one` stays, beside what was found in it."""
        self.write(one, {**self.read(one), "kept": asdict(kept)})

    def upload_of(self, one: Waiting) -> UploadRecord:
        """Where the upload in pieces of `one` is remembered."""
        return UploadRecord(self, one)

    def forget(self, one: Waiting) -> None:
        """Remember nothing of a file of this name."""
        with contextlib.suppress(OSError):
            (self._folder / (one.path.name + _SUFFIX)).unlink()

    def sweep(self, waiting: Iterable[Waiting]) -> None:
        """Remove the records of files that are gone."""
        names = {one.path.name + _SUFFIX for one in waiting}
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                if name not in names:
                    (self._folder / name).unlink()

    def read(self, one: Waiting) -> dict[str, Any]:
        """All that is known of `one`; empty where nothing is, or it is another file by now."""
        record = read_object(self._folder / (one.path.name + _SUFFIX))
        return record if record.get("file") == _identity(one) else {}

    def write(self, one: Waiting, record: dict[str, Any]) -> None:
        """Make `record` all that is known of `one`, if there is room for it."""
        target = self._folder / (one.path.name + _SUFFIX)
        temporary = target.with_name(target.name + ".new")
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            temporary.write_text(json.dumps({**record, "file": _identity(one)}) + "\n", encoding="ascii")
            os.replace(temporary, target)


class UploadRecord:
    """See `pieces.Memory`: kept with what else is known of a waiting file."""

    def __init__(self, records: Records, one: Waiting) -> None:
        self._records = records
        self._one = one

    def recall(self) -> Begun | None:
        """See `pieces.Memory.recall`."""
        told = self._records.read(self._one).get("upload")
        if not isinstance(told, dict):
            return None
        receiver, location, sha256 = (str(told.get(name, "")) for name in ("receiver", "location", "sha256"))
        offset = told.get("offset")
        return Begun(receiver, location, sha256, offset) if type(offset) is int else None

    def remember(self, begun: Begun | None) -> None:
        """See `pieces.Memory.remember`."""
        record = self._records.read(self._one)
        record.pop("upload", None)
        self._records.write(self._one, record | ({"upload": asdict(begun)} if begun else {}))


def _identity(one: Waiting) -> dict[str, int]:
    return {"inode": one.inode, "size_bytes": one.size_bytes, "mtime_ns": one.mtime_ns}

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
        record = self._read(one)
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
        told = self._read(one).get("kept")
        if not isinstance(told, dict):
            return None
        return Kept(*(str(told.get(name) or "") for name in ("code", "reason", "remedy")))

    def note_findings(self, one: Waiting, check: str, findings: Findings) -> None:
        """Remember what `check` found in `one`."""
        self._write(one, {"check": check, "findings": asdict(findings)})

    def doubted(self, one: Waiting) -> str | None:
        """The SHA-256 that `one` had when it was looked at last, where it is to be looked at again."""
        told = self._read(one).get("doubted")
        return told if isinstance(told, str) else None

    def note_doubt(self, one: Waiting, sha256: str) -> None:
        """What was found in `one` no longer holds; `sha256` is what it had."""
        self._write(one, {"doubted": sha256})

    def note_kept(self, one: Waiting, kept: Kept) -> None:
        """Remember why `one` stays, beside what was found in it."""
        self._write(one, {**self._read(one), "kept": asdict(kept)})

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

    def _read(self, one: Waiting) -> dict[str, Any]:
        record = read_object(self._folder / (one.path.name + _SUFFIX))
        return record if record.get("file") == _identity(one) else {}

    def _write(self, one: Waiting, record: dict[str, Any]) -> None:
        target = self._folder / (one.path.name + _SUFFIX)
        temporary = target.with_name(target.name + ".new")
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            temporary.write_text(json.dumps({**record, "file": _identity(one)}) + "\n", encoding="ascii")
            os.replace(temporary, target)


def _identity(one: Waiting) -> dict[str, int]:
    return {"inode": one.inode, "size_bytes": one.size_bytes, "mtime_ns": one.mtime_ns}

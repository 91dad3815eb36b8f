"""The folder that the recorder fills and the shipper empties.

The recorder writes under another name (``.partial`` behind it, or a dot before it) and renames when it is done; what
it writes in place is protected too: a file is taken only when it did not change for a while and ends with a whole zstd
frame. Every move is one rename(2), so that a crash leaves each file in exactly one place; a rename that a power cut
takes back means that the episode is shipped again, and answered 200.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.files import atomic

SHIPPED: Final = "shipped"
REFUSED: Final = "refused"
ANSWER_SUFFIX: Final = ".answer.json"
_LOCK: Final = ".shipper.lock"
_STATE: Final = ".shipper.json"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file in the spool as it was seen; when it is written to, it is another one."""

    path: Path
    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def seen(cls, path: Path) -> Waiting | None:
        """The file `path` now; None where there is no ordinary file."""
        try:
            found = path.lstat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ino)

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was seen."""
        return Waiting.seen(self.path) == self


class Spool:
    """One spool folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shipped = folder / SHIPPED
        self.refused = folder / REFUSED

    def prepare(self) -> None:
        """Make the folders, while there is room for them.

        Raises:
            OSError: they cannot be made.
        """
        for folder in (self.shipped, self.refused):
            atomic.make_folder(folder)

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Keep other shippers out for the length of a block; gives whether that was possible. Ends with the process."""
        with atomic.locked_file_or_none(self.folder / _LOCK) as fd:
            yield fd is not None

    def was_locked(self) -> bool:
        """Whether a shipper ever worked here."""
        return (self.folder / _LOCK).exists()

    def waiting(self) -> list[Waiting]:
        """Every episode in it, the oldest first.

        Raises:
            OSError: the folder cannot be read.
        """
        names = (name for name in os.listdir(self.folder) if is_episode(name))
        found = (Waiting.seen(self.folder / name) for name in names)
        return sorted((one for one in found if one), key=lambda one: (one.mtime_ns, one.path.name))

    def acknowledge(self, one: Waiting, *, keep: bool) -> bool:
        """Move what the receiver has to shipped/, or delete it. Gives whether that was done: a file that changed since
        it was seen stays.

        Raises:
            OSError: it cannot be moved; it stays, and is answered 200 the next time.
        """
        if not one.is_unchanged():
            return False
        if keep:
            self.shipped.mkdir(exist_ok=True)
            os.rename(one.path, self.shipped / one.path.name)
        else:
            one.path.unlink()
        return True

    def refuse(self, one: Waiting, answer: dict[str, Any]) -> Path | None:
        """Move what the receiver refused for good to refused/ and put the answer beside it: first the answer, so that
        no refused file lies there without one. Gives where it lies; None where it changed and stays.

        Raises:
            OSError: they cannot be written or moved; the file stays.
        """
        if not one.is_unchanged():
            return None
        self.refused.mkdir(exist_ok=True)
        target = self._free_name(one.path.name)
        document = json.dumps(answer, indent=2).encode("ascii") + b"\n"
        atomic.replace_file(answer_of(target), document)
        os.rename(one.path, target)
        return target

    def _free_name(self, name: str) -> Path:
        stem = name.removesuffix(protocol.EPISODE_SUFFIX)
        target, number = self.refused / name, 1
        while target.exists():
            number += 1
            target = self.refused / f"{stem}~{number}{protocol.EPISODE_SUFFIX}"
        return target

    def refusals(self) -> list[tuple[Path, dict[str, Any]]]:
        """Every refused file with its answer, the oldest first; an answer that cannot be read is empty."""
        paths = self.refused.glob(f"*{protocol.EPISODE_SUFFIX}")
        return [(path, read_object(answer_of(path))) for path in sorted(paths, key=_changed_ns)]

    def take_back(self, path: Path) -> bool:
        """Put a refused file into the spool again. Gives whether that was possible: not where one of its name waits.

        Raises:
            OSError: it cannot be moved.
        """
        stem = re.sub(r"~\d+$", "", path.name.removesuffix(protocol.EPISODE_SUFFIX))
        target = self.folder / (stem + protocol.EPISODE_SUFFIX)
        if target.exists():
            return False
        os.rename(path, target)
        answer_of(path).unlink(missing_ok=True)
        return True

    def make_room(self, reserve_bytes: int) -> int:
        """Delete from shipped/, oldest first, until `reserve_bytes` are free on the disk; gives how many files went.
        Each of them is at the receiver."""
        count = 0
        for path in sorted(self.shipped.glob(f"*{protocol.EPISODE_SUFFIX}"), key=_changed_ns):
            if shutil.disk_usage(self.folder).free >= reserve_bytes:
                break
            path.unlink(missing_ok=True)
            count += 1
        return count

    def write_state(self, state: dict[str, Any]) -> None:
        """Leave a note for `status` and the doctor: whole or not at all, and not worth a sync. On a full disk there is
        none."""
        temporary = self.folder / f"{_STATE}.new"
        with contextlib.suppress(OSError):
            temporary.write_bytes(json.dumps(state).encode("ascii") + b"\n")
            os.replace(temporary, self.folder / _STATE)

    def read_state(self) -> dict[str, Any]:
        """The note that the last shipper left; empty where there is none."""
        return read_object(self.folder / _STATE)


def is_episode(name: str) -> bool:
    """Whether a file of this name is meant to be shipped. What a recorder writes under another name is not."""
    return name.endswith(protocol.EPISODE_SUFFIX) and not name.startswith(".")


def answer_of(path: Path) -> Path:
    """The file beside a refused one that says why."""
    return path.with_name(path.name + ANSWER_SUFFIX)


def _changed_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        document = i_json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}

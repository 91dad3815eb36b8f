"""gate.json: the version gate's list in a file, which a worker knows to be a new one by its inode, size and mtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from cis490_receiver.errors import ConfigError, StorageFailed
from cis490_receiver.files import atomic
from cis490_receiver.files.watched import WatchedFile
from cis490_receiver.state.base.gate_list import GateSnapshot

#: The snapshot's name in the data folder.
GATE_FILE: Final = "gate.json"

T = TypeVar("T")


class GateFile:
    """See `state.base.gate_list.GateList`."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic

    def read(self) -> GateSnapshot | None:
        """See `GateList.read`."""
        try:
            return GateSnapshot.from_json(self._path.read_bytes())
        except (OSError, ValueError):
            return None

    def watch(
        self, prepare: Callable[[GateSnapshot], T], describe: Callable[[T], Mapping[str, object]]
    ) -> WatchedFile[T]:
        """See `GateList.watch`."""
        return WatchedFile(
            self._path,
            lambda text: prepare(GateSnapshot.from_json(text)),
            name="gate",
            describe=describe,
            monotonic=self._monotonic,
        )

    def replace(self, snapshot: GateSnapshot) -> None:
        """See `GateList.replace`."""
        try:
            atomic.replace_file(self._path, snapshot.to_json())
        except OSError as exc:
            message = f"cannot write {self._path}: {exc.strerror}"
            if isinstance(exc, PermissionError):
                raise ConfigError(f"{message}; run this as the receiver's user") from exc
            raise StorageFailed(message) from exc

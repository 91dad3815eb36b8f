"""What the inspection leaves, in a file of the data folder; who inspects holds a lock that dies with it (flock(2))."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.state.base.inspections import Inspected
from cis490_receiver.state.failing import storage_failures
from cis490_receiver.state.marks import MemoFile

INSPECTION_FILE: Final = "inspection.json"
LOCK_FILE: Final = "inspection.lock"


class InspectionFile:
    """See `state.base.inspections.Inspections`."""

    def __init__(self, data_dir: Path) -> None:
        self._lock = data_dir / LOCK_FILE
        self._memo = MemoFile(data_dir / INSPECTION_FILE)

    @contextlib.contextmanager
    def alone_or_not(self) -> Iterator[bool]:
        """See `Inspections.alone_or_not`."""
        with contextlib.ExitStack() as held:
            with storage_failures():
                lock = held.enter_context(atomic.locked_file_or_none(self._lock))
            yield lock is not None

    def read(self) -> Inspected:
        """See `Inspections.read`."""
        try:
            return Inspected.from_dict(self._memo.read())
        except ValueError:
            return Inspected()

    def write(self, inspected: Inspected) -> None:
        """See `Inspections.write`."""
        self._memo.write(inspected.as_dict())

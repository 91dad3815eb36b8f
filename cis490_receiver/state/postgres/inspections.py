"""What the inspection leaves, in a document; who inspects holds a lock over all machines."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Final

from cis490_receiver import i_json
from cis490_receiver.errors import StorageFailed
from cis490_receiver.postgres.documents import PUT, Document
from cis490_receiver.postgres.locks import Lock, lock_or_none
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.inspections import Inspected

_NAME: Final = "inspection"


class PostgresInspections:
    """See `state.base.inspections.Inspections`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._document = Document(database, _NAME)
        self._lock: Lock | None = None

    @contextlib.contextmanager
    def alone_or_not(self) -> Iterator[bool]:
        """See `Inspections.alone_or_not`. Who lost the connection is not alone any more, and cannot write."""
        with lock_or_none(self._database, _NAME) as lock:
            if lock is None:
                yield False
                return
            self._lock = lock
            try:
                yield True
            finally:
                self._lock = None

    def read(self) -> Inspected:
        """See `Inspections.read`."""
        try:
            return Inspected.from_dict(i_json.loads((self._document.read() or "null").encode()))
        except (StorageFailed, ValueError):
            return Inspected()

    def write(self, inspected: Inspected) -> None:
        """See `Inspections.write`."""
        content = json.dumps(inspected.as_dict())
        if self._lock is None:
            self._document.write(content)
        else:
            self._lock.write(PUT, (_NAME, content))

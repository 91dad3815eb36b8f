"""The version gate's list in a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from cis490_receiver.errors import StorageFailed
from cis490_receiver.postgres.documents import Document
from cis490_receiver.postgres.pool import Database
from cis490_receiver.state.base.gate_list import GateSnapshot
from cis490_receiver.state.postgres.watched import WatchedDocument

_GATE: Final = "gate"

T = TypeVar("T")


class PostgresGateList:
    """See `state.base.gate_list.GateList`."""

    def __init__(self, database: Database) -> None:
        self._document = Document(database, _GATE)

    def read(self) -> GateSnapshot | None:
        """See `GateList.read`."""
        try:
            text = self._document.read()
            return None if text is None else GateSnapshot.from_json(text.encode())
        except (StorageFailed, ValueError):
            return None

    def watch(
        self, prepare: Callable[[GateSnapshot], T], describe: Callable[[T], Mapping[str, object]]
    ) -> WatchedDocument[T]:
        """See `GateList.watch`."""
        return WatchedDocument(
            self._document,
            lambda text: prepare(GateSnapshot.from_json(text.encode())),
            name="gate",
            describe=describe,
        )

    def replace(self, snapshot: GateSnapshot) -> None:
        """See `GateList.replace`."""
        self._document.write(snapshot.to_json().decode("ascii"))

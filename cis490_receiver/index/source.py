"""Where the catalog reads the index's lines."""

from __future__ import annotations

from typing import Protocol

from cis490_receiver.index.base import OpenJournal


class JournalSource(Protocol):
    """The index's lines as a file on this machine: the journal itself, or a copy that keeps up with it."""

    def open(self) -> OpenJournal:
        """The lines as they are now; the stream has a file descriptor. The withdrawals' lines beside them are no older.

        Raises:
            OSError, StorageFailed: they cannot be read.
        """
        ...

    def make_durable(self) -> None:
        """See `EpisodeIndex.make_durable`."""
        ...

"""The index of one machine: records go to the journal, questions to the catalog."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from cis490_receiver.clock import Clock
from cis490_receiver.index.journal import Journal
from cis490_receiver.index.questions import CatalogQuestions
from cis490_receiver.index.renewal import JournalRenewal
from cis490_receiver.models import Episode

JOURNAL_NAME: Final = "index.jsonl"
#: An earlier layout's, which may be large.
_OLD_CATALOG: Final = ("catalog.sqlite3", "catalog.sqlite3-wal", "catalog.sqlite3-shm")


class LocalIndex(CatalogQuestions):
    """See `index.base.EpisodeIndex`. The catalog is never on the way of an append."""

    def __init__(self, data_dir: Path) -> None:
        self.journal = Journal(data_dir / JOURNAL_NAME)
        super().__init__(data_dir, self.journal)

    def prepare(self) -> None:
        """Make the journal when it is absent, durably."""
        self.journal.prepare()
        for name in _OLD_CATALOG:
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()

    def append(self, episode: Episode, placed: str = "") -> bool:
        """See `EpisodeIndex.append`."""
        self.journal.append(episode)
        return True

    def check_writable(self) -> None:
        """See `EpisodeIndex.check_writable`."""
        self.journal.check_writable()

    def make_durable(self) -> None:
        """See `EpisodeIndex.make_durable`."""
        self.journal.make_durable()

    def renewal(self, clock: Clock) -> JournalRenewal:
        """See `EpisodeIndex.renewal`."""
        return JournalRenewal(self._folder, self.journal, clock)

"""Releases of receivers on many machines: what each is in PostgreSQL, its table outside of it.

The order of the steps, which is the promise::

    note the table, durably  →  write it, hashing, and find it whole
                             →  in one transaction: the release takes the place of the note  →  it is there

The primary key decides who has a name. What a crash leaves is a note, and perhaps a table; `upkeep.collect` takes both
away.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from cis490_receiver import protocol
from cis490_receiver.errors import ReceiverError, ReleaseDamaged
from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.blobs import Blobs
from cis490_receiver.index.base.releases import About, OpenRelease, Release, ReleaseExists
from cis490_receiver.index.blocks import Blocks
from cis490_receiver.index.postgres.release_rows import ReleaseRows
from cis490_receiver.index.release_making import NewTable, newest_first
from cis490_receiver.index.release_table import Name, SortedTable
from cis490_receiver.index.release_withdrawals import WithdrawnNames, WithdrawnSince
from cis490_receiver.logfmt import event
from cis490_receiver.models import EpisodeKey
from cis490_receiver.postgres.pool import Database

log = logging.getLogger(__name__)


class PostgresReleases:
    """See `index.base.releases.Releases`. Makes no connection before it is used: a fork is harmless.

    Attributes:
        tables: what is noted of tables, for who collects those that were left (`upkeep.collect.collect_tables`).
    """

    def __init__(self, database: Database, blobs: Blobs, index: WithdrawnNames) -> None:
        self.tables = ReleaseRows(database)
        self._blobs = blobs
        self._withdrawn = WithdrawnSince(index)

    def create(self, name: str, selection: Selection, about: About) -> Release:
        """See `Releases.create`. Of several at once for a name, each writes its table, and one makes the release."""
        if not protocol.is_valid_id(name):
            raise ValueError(f"not a release's name: {name!r}")
        if self.tables.find(name) is not None:
            raise ReleaseExists.named(name)
        object_key = self._blobs.new_key(name)
        self.tables.note(name, object_key)
        table = NewTable(selection)
        # A table that could not be written may still come to be: it is left to the collector.
        self._blobs.write(object_key, table.pieces())
        release = table.as_release(name, about)
        try:
            self.tables.add(release, object_key, table.marks)
        except BaseException:
            self._discard(object_key)
            raise
        return release

    def _discard(self, object_key: str) -> None:
        """Delete a table unless a release came of it. What cannot be done now is the collector's."""
        try:
            if self.tables.give_up(object_key):
                self._blobs.delete(object_key)
                self.tables.forget([object_key])
        except ReceiverError as exc:
            log.warning(event("table-left", file=object_key, reason=exc.reason.partition("\n")[0]))

    def all(self) -> Sequence[Release]:
        """See `Releases.all`."""
        return newest_first(self.tables.all())

    def find(self, name: str) -> Release | None:
        """See `Releases.find`."""
        found = self.tables.find(name)
        return None if found is None else found.release

    def open(self, name: str) -> OpenRelease | None:
        """See `Releases.open`."""
        found = self.tables.find(name)
        if found is None:
            return None
        stream = self._blobs.open(found.object_key, found.release.size_bytes)
        if stream is None:
            log.error(event(ReleaseDamaged.code, name=name, file=found.object_key))
            raise ReleaseDamaged
        return OpenRelease(found.release, stream, found.made_ns)

    def count_withdrawn(self, release: Release) -> int | None:
        """See `Releases.count_withdrawn`. The table is looked at where something was withdrawn since the last time."""
        found = self._withdrawn_of(release)
        return None if found is None else len(found)

    def withdrawn(self, release: Release) -> Sequence[EpisodeKey]:
        """See `Releases.withdrawn`."""
        return [EpisodeKey(*name) for name in sorted(self._withdrawn_of(release) or ())]

    def _withdrawn_of(self, release: Release) -> frozenset[Name] | None:
        identity = (release.name, release.sha256)
        with contextlib.ExitStack() as opened:
            try:
                return self._withdrawn.of(identity, release.name, lambda: self._table(release.name, opened))
            except ReleaseDamaged:
                return None

    def _table(self, name: str, opened: contextlib.ExitStack) -> SortedTable:
        release = self.open(name)
        if release is None:
            raise ReleaseDamaged
        blocks = Blocks(opened.enter_context(release.stream))
        return SortedTable(blocks.read_at, release.release.size_bytes, self.tables.sparse_index(name))

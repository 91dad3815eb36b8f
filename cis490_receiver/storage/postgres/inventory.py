"""What the rows of episodes tell of them, and the heads of their objects."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.models import EpisodeKey
from cis490_receiver.postgres.pool import Database
from cis490_receiver.storage.object_client import ObjectClient
from cis490_receiver.storage.postgres.placements import PostgresPlacements

#: How many questions are on their way to the store at once.
_AT_ONCE: Final = 8
_UNKNOWN: Final = -1
_OBJECTS: Final = """
SELECT host_id, episode_id, object_key FROM unnest(%s::text[], %s::text[]) AS asked (host_id, episode_id)
JOIN episodes USING (host_id, episode_id) WHERE object_key IS NOT NULL
"""
#: How many pages of the table `some_keys` looks at, more or less.
_PAGES: Final = 50
_COUNT_PAGES: Final = "SELECT pg_relation_size('episodes') / current_setting('block_size')::bigint"
#: Whole pages, by chance (PostgreSQL's documentation, SELECT, *TABLESAMPLE*).
_SAMPLE: Final = """
SELECT host_id, episode_id FROM episodes TABLESAMPLE SYSTEM (%s) REPEATABLE (%s)
WHERE object_key IS NOT NULL AND received_at_ns < %s
"""


class ClusterInventory:
    """See `storage.base.Inventory`. Makes no connection before it is used: a fork is harmless."""

    def __init__(self, database: Database, client: ObjectClient) -> None:
        self._database = database
        self._client = client
        self._placements = PostgresPlacements(database)

    def size_of(self, key: EpisodeKey) -> int | None:
        """See `Inventory.size_of`: the length of the object; None too where the row is there and its object is not."""
        placement = self._placements.find(key)
        return None if placement is None else self._client.size_of(placement.object_key)

    def sizes_of(self, keys: Sequence[EpisodeKey]) -> Mapping[EpisodeKey, int | None]:
        """See `Inventory.sizes_of`: one question to the database, and some at a time to the store."""
        columns = [key.host_id for key in keys], [key.episode_id for key in keys]
        try:
            rows = self._database.read(_OBJECTS, columns)
        except StorageFailed:
            return {}
        object_keys = {
            EpisodeKey(host_id, episode_id): object_key for host_id, episode_id, object_key in rows
        }
        with ThreadPoolExecutor(_AT_ONCE, "sizes") as pool:
            found = dict(zip(object_keys, pool.map(self._size_or_unknown, object_keys.values()), strict=True))
        return {key: found.get(key) for key in keys if found.get(key) != _UNKNOWN}

    def _size_or_unknown(self, object_key: str) -> int | None:
        try:
            return self._client.size_of(object_key)
        except StorageFailed:
            return _UNKNOWN

    def set_aside_since(self, key: EpisodeKey, ns: int) -> bool:
        """See `Inventory.set_aside_since`. A row without an object is that of what was put aside last, and says when
        that had come: so no two clocks are compared."""
        return bool(
            self._database.read(
                "SELECT true FROM episodes WHERE (host_id, episode_id) = (%s, %s)"
                " AND object_key IS NULL AND received_at_ns >= %s",
                (key.host_id, key.episode_id, ns),
            )
        )

    def quarantined(self) -> int:
        """See `Inventory.quarantined`."""
        [(count,)] = self._database.read("SELECT count(*) FROM set_aside")
        return int(count)

    def some_keys(self, count: int, choose: random.Random, *, before_ns: int) -> Sequence[EpisodeKey]:
        """See `Inventory.some_keys`. Costs a bounded number of pages, on each of which are some dozens of episodes
        that came one after the other."""
        [(pages,)] = self._database.read(_COUNT_PAGES)
        percent = 100 * min(_PAGES / pages, 1) if pages else 100
        rows = self._database.read(_SAMPLE, (percent, choose.random(), before_ns))
        keys = sorted(EpisodeKey(*row) for row in rows)
        return choose.sample(keys, min(count, len(keys)))

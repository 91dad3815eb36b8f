"""What can be seen of the episodes of the local disk by their names and inodes alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.errors import StorageFailed
from cis490_receiver.models import EpisodeKey

#: Of how many hosts, and how many names of each at most, `some_keys` looks at.
_HOSTS: Final = 10
_NAMES: Final = 200


class FilesystemInventory:
    """See `storage.base.Inventory`."""

    def __init__(self, data_dir: Path) -> None:
        self._episodes = data_dir / "episodes"
        self._quarantine = data_dir / "quarantine"

    def size_of(self, key: EpisodeKey) -> int | None:
        """See `Inventory.size_of`."""
        try:
            status = os.lstat(self._episodes / key.host_id / key.file_name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise StorageFailed from exc
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def sizes_of(self, keys: Sequence[EpisodeKey]) -> Mapping[EpisodeKey, int | None]:
        """See `Inventory.sizes_of`."""
        sizes = {}
        for key in keys:
            with contextlib.suppress(StorageFailed):
                sizes[key] = self.size_of(key)
        return sizes

    def set_aside_since(self, key: EpisodeKey, ns: int) -> bool:
        """See `Inventory.set_aside_since`. Costs what is quarantined of the host."""
        # As `FilesystemStore.quarantine` names it.
        name = re.compile(
            rf"{re.escape(key.episode_id)}\.([0-9]{{1,20}}){re.escape(protocol.EPISODE_SUFFIX)}"
        )
        try:
            names = os.listdir(self._quarantine / key.host_id)
        except OSError:
            return False
        return any(int(found[1]) >= ns for found in map(name.fullmatch, names) if found)

    def quarantined(self) -> int:
        """See `Inventory.quarantined`."""
        return sum(1 for _ in self._quarantine.rglob(f"*{protocol.EPISODE_SUFFIX}"))

    def some_keys(self, count: int, choose: random.Random, *, before_ns: int) -> Sequence[EpisodeKey]:
        """See `Inventory.some_keys`. Costs what there are hosts, and a bounded number of names of a few."""
        try:
            hosts = sorted(name for name in os.listdir(self._episodes) if protocol.is_valid_id(name))
        except OSError as exc:
            raise StorageFailed from exc
        keys = [
            key
            for host_id in choose.sample(hosts, min(_HOSTS, len(hosts)))
            for key in self._first_names(host_id, before_ns)
        ]
        return choose.sample(keys, min(count, len(keys)))

    def _first_names(self, host_id: str, before_ns: int) -> Iterator[EpisodeKey]:
        # A host's folder may go while it is looked at.
        with contextlib.suppress(OSError), os.scandir(self._episodes / host_id) as entries:
            for entry in itertools.islice(entries, _NAMES):
                episode_id = entry.name.removesuffix(protocol.EPISODE_SUFFIX)
                if episode_id == entry.name or not protocol.is_valid_id(episode_id):
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_ctime_ns < before_ns:
                    yield EpisodeKey(host_id, episode_id)

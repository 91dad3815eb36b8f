"""Are the episodes there that the index speaks of, and the other way round? A few are looked at in each run.

Which ones is left to chance, but for the newest, so that in the course of days all are. What was found wrong is
looked at again by every run until it is mended: else a fault that one run meets by luck would seem to have ended
in the next.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.state.base.marks import Memo
from cis490_receiver.storage.base import Inventory

log = logging.getLogger(__name__)

#: A file that is older than this has its line, unless something went wrong.
_SETTLED_NS: Final = 3600 * 10**9
#: How much that was found wrong is looked at again.
_REMEMBERED: Final = 100
#: How many are asked about at a time.
_BATCH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a run looks at."""

    newest: int = 50
    others: int = 50
    files: int = 20
    #: After this no further few are begun.
    seconds: float = 2.0


#: What a glance looks at, which is the same each time: a fault that chance shows would come and go.
GLANCE: Final = Limits(others=0, files=0, seconds=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a run saw."""

    #: Indexed episodes that were looked at.
    looked: int = 0
    missing: tuple[EpisodeKey, ...] = ()
    #: The stored bytes are more or fewer than the index says.
    other_length: tuple[EpisodeKey, ...] = ()
    #: The file system gave an error instead of an answer.
    unseen: tuple[EpisodeKey, ...] = ()
    #: Stored, and not in the index.
    unindexed: tuple[EpisodeKey, ...] = ()


def look(
    index: EpisodeIndex,
    inventory: Inventory,
    before: Presence,
    *,
    now_ns: int,
    choose: random.Random,
    monotonic: Callable[[], float],
    limits: Limits = Limits(),
) -> Presence:
    """Look at what `before` found wrong, at the newest episodes, and at others that chance picks.

    Raises:
        StorageFailed: the index cannot be read, or the folder of the episodes.
    """
    again = (index.find(key) for key in (*before.missing, *before.other_length, *before.unseen))
    episodes = {episode.key: episode for episode in again if episode}
    known = len(episodes)
    newest = index.page(Filters(withdrawn="include"), limit=limits.newest, cursor=None).episodes
    episodes |= {episode.key: episode for episode in (*newest, *index.sample(limits.others, choose))}
    found: dict[str, list[EpisodeKey]] = {"missing": [], "other_length": [], "unseen": []}
    looked = 0
    end = monotonic() + limits.seconds
    waiting = iter(episodes.values())
    while batch := list(itertools.islice(waiting, _BATCH)):
        # Whatever was found wrong is looked at, or it would seem mended.
        if looked > known and monotonic() > end:
            break
        looked += len(batch)
        sizes = inventory.sizes_of([episode.key for episode in batch])
        for episode in batch:
            if fault := _fault(episode, sizes, index, inventory):
                found[fault].append(episode.key)
    keys = [*before.unindexed, *inventory.some_keys(limits.files, choose, before_ns=now_ns - _SETTLED_NS)]
    return Presence(
        looked=looked,
        unindexed=tuple(key for key in dict.fromkeys(keys) if _is_unindexed(key, index, inventory)),
        **{name: tuple(faulty) for name, faulty in found.items()},
    )


def _fault(
    episode: Episode, sizes: Mapping[EpisodeKey, int | None], index: EpisodeIndex, inventory: Inventory
) -> str | None:
    if episode.key not in sizes:
        return "unseen"
    size_bytes = sizes[episode.key]
    try:
        if size_bytes == episode.size_bytes:
            return None
        # It may have been quarantined meanwhile, or its line be about to be set aside for that.
        if inventory.set_aside_since(episode.key, episode.received_at_ns):
            return None
    except StorageFailed:
        return "unseen"
    if index.find(episode.key) != episode:
        return None
    return "missing" if size_bytes is None else "other_length"


def _is_unindexed(key: EpisodeKey, index: EpisodeIndex, inventory: Inventory) -> bool:
    try:
        return index.find(key) is None and inventory.size_of(key) is not None
    except StorageFailed:
        return False


def recall(memo: Memo) -> Presence:
    """What the last run found wrong."""
    data = memo.read()
    try:
        return Presence(missing=_keys(data["faulty"]), unindexed=_keys(data["unindexed"]))
    except (ValueError, KeyError, TypeError):
        return Presence()


def remember(memo: Memo, presence: Presence) -> None:
    """Keep what is wrong for the next run. A disk that takes nothing costs no more than that."""
    faulty = (*presence.missing, *presence.other_length, *presence.unseen)
    before = recall(memo)
    now = faulty[:_REMEMBERED], presence.unindexed[:_REMEMBERED]
    if now == (before.missing, before.unindexed):
        return
    names = [[[key.host_id, key.episode_id] for key in keys] for keys in now]
    try:
        memo.write({"faulty": names[0], "unindexed": names[1]})
    except StorageFailed as exc:
        log.error(event("storage-failed", doing="remember-missing", reason=exc.reason))


def _keys(items: Iterable[tuple[str, str]]) -> tuple[EpisodeKey, ...]:
    return tuple(EpisodeKey(host_id, episode_id) for host_id, episode_id in items)[:_REMEMBERED]

"""Take episodes whose bytes rotted out of the training set.

An episode is moved first, then its line is set aside: a crash in between leaves a line without an episode, which
verify reports as missing and the next quarantine mends. The other way round, the next reindex would give the
rotten bytes a line of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.models import EpisodeKey
from cis490_receiver.storage.base import EpisodeStore, Held
from cis490_receiver.upkeep.reindex import Reindexer
from cis490_receiver.upkeep.verify import Report


def put_in_quarantine(
    report: Report, store: EpisodeStore, index: EpisodeIndex, reindexer: Reindexer, moved: list[EpisodeKey]
) -> None:
    """Move what `report` found to be rotten, if it still is, and set aside the lines of what is not there.

    Much may have happened since it was read: each is read again while nobody else can be at it. `moved` is given
    the keys of those that were moved, also when an error ends this early.

    Raises:
        ReceiverError, OSError: it was not brought to its end; doing it again goes on.
    """
    if not any(damage.spoils or damage.kind == "missing" for damage in report.damaged):
        return
    with reindexer.alone():
        for damage in report.damaged:
            if damage.spoils and store.quarantine(damage.key, _rotten_by(index, damage.key)):
                moved.append(damage.key)  # noqa: PERF401 - those before an error count
        reindexer.run_locked()


def _rotten_by(index: EpisodeIndex, key: EpisodeKey) -> Callable[[Held], bool]:
    def is_rotten(held: Held) -> bool:
        episode = index.find(key)
        return episode is not None and held.hexdigest() != episode.sha256

    return is_rotten

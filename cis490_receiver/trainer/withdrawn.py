"""What a receiver has withdrawn: out of a mirror's training set, and back in when that is undone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from cis490_receiver import protocol
from cis490_receiver.files import atomic
from cis490_receiver.models import EpisodeKey
from cis490_receiver.trainer.layout import WITHDRAWN_FOLDER
from cis490_receiver.trainer.listing import NotListed, pages
from cis490_receiver.trainer.remote import Remote


def ask(remote: Remote) -> frozenset[EpisodeKey]:
    """The episodes that are withdrawn now. A receiver of a version that knows no withdrawals has none.

    Raises:
        MirrorFailed: the answer is none of a receiver's.
        TransportFailed: the receiver cannot be reached.
    """
    try:
        return frozenset(
            episode.key for episodes, _ in pages(remote, {"withdrawn": "only"}) for episode in episodes
        )
    except NotListed:
        return frozenset()


def fingerprint(keys: Iterable[EpisodeKey]) -> str:
    """A digest by which two sets of episodes are told apart."""
    return hashlib.sha256("\n".join(sorted(map(str, keys))).encode("ascii")).hexdigest()


def set_aside(folder: Path, withdrawn: Collection[EpisodeKey]) -> int:
    """Move the episodes `withdrawn` of the mirror `folder` from ``episodes/`` to ``withdrawn/``, and those back that
    are not any more. After a crash each is in one place or the other, whole; the next run goes on.

    Returns:
        How many were moved out.
    """
    moved = _move(folder / "episodes", folder / WITHDRAWN_FOLDER, withdrawn)
    _move(
        folder / WITHDRAWN_FOLDER,
        folder / "episodes",
        [key for key in _keys_in(folder / WITHDRAWN_FOLDER) if key not in withdrawn],
    )
    return moved


def _keys_in(folder: Path) -> Iterable[EpisodeKey]:
    for path in sorted(folder.glob(f"*/*{protocol.EPISODE_SUFFIX}")):
        host_id, episode_id = path.parent.name, path.name.removesuffix(protocol.EPISODE_SUFFIX)
        if protocol.is_valid_id(host_id) and protocol.is_valid_id(episode_id):
            yield EpisodeKey(host_id, episode_id)


def _move(source: Path, target: Path, keys: Iterable[EpisodeKey]) -> int:
    changed: set[Path] = set()
    moved = 0
    for key in keys:
        old, new = (place / key.host_id / key.file_name for place in (source, target))
        if not old.exists():
            continue
        atomic.make_folder(new.parent)
        os.rename(old, new)
        changed |= {new.parent, old.parent}
        moved += 1
    for folder in changed:
        atomic.sync_folder(folder)
    return moved

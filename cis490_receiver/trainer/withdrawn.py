"""What a receiver has withdrawn: out of a mirror's training set, and back in when that is undone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cis490_receiver import i_json, protocol
from cis490_receiver.files import atomic
from cis490_receiver.models import EpisodeKey
from cis490_receiver.trainer.remote import MirrorFailed, Remote

FOLDER: Final = "withdrawn"
_PAGE: Final = 1000
_LARGEST_PAGE: Final = 8 << 20


def ask(remote: Remote) -> frozenset[EpisodeKey]:
    """The episodes that are withdrawn now. A receiver of a version that knows no withdrawals has none.

    Raises:
        MirrorFailed: the answer is none of a receiver's.
        TransportFailed: the receiver cannot be reached.
    """
    found: set[EpisodeKey] = set()
    cursor = ""
    while True:
        after = f"&cursor={quote(cursor, safe='')}" if cursor else ""
        response = remote.get(f"/v1/episodes?withdrawn=only&limit={_PAGE}{after}", {})
        text = b""
        while len(text) <= _LARGEST_PAGE and (piece := response.read(1 << 20)):
            text += piece
        if response.status == 400 and not cursor:
            return frozenset()
        if response.status != 200:
            raise MirrorFailed(f"the receiver does not say what it withdrew (status {response.status})")
        try:
            page = i_json.loads(text)
            found.update(EpisodeKey(item["host_id"], item["episode_id"]) for item in page["episodes"])
            cursor = page["next"] or ""
        except (ValueError, KeyError, TypeError) as exc:
            raise MirrorFailed(f"the receiver's list of withdrawn episodes cannot be read: {exc}") from exc
        if not cursor:
            return frozenset(found)


def fingerprint(keys: Iterable[EpisodeKey]) -> str:
    """A digest by which two sets of episodes are told apart."""
    return hashlib.sha256("\n".join(sorted(map(str, keys))).encode("ascii")).hexdigest()


def set_aside(folder: Path, withdrawn: Collection[EpisodeKey]) -> int:
    """Move the episodes `withdrawn` of the mirror `folder` from ``episodes/`` to ``withdrawn/``, and those back that
    are not any more. After a crash each is in one place or the other, whole; the next run goes on.

    Returns:
        How many were moved out.
    """
    moved = _move(folder / "episodes", folder / FOLDER, withdrawn)
    _move(
        folder / FOLDER,
        folder / "episodes",
        [key for key in _keys_in(folder / FOLDER) if key not in withdrawn],
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

"""The names in ``incoming/``: what they tell of the upload, and of its episode once it is published."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.models import EpisodeKey
from cis490_receiver.storage import linking

#: Longest file name that Linux file systems take, in bytes (NAME_MAX, limits.h).
NAME_MAX: Final = 255


def new_name(key: EpisodeKey) -> str:
    """A new name that tells recovery the key; for ids too long to fit, the host alone."""
    unique = os.urandom(16).hex()
    name = f"{key.host_id}~{key.episode_id}~{unique}"
    return name if len(linking.marker_of(name)) <= NAME_MAX else f"{key.host_id}~~{unique}"


def traces_of(incoming: Path, key: EpisodeKey, inode: int) -> list[str]:
    """The names in the folder `incoming` that an upload of `key`, published as the file `inode`, left."""
    prefixes = (f"{key.host_id}~{key.episode_id}~", f"{key.host_id}~~")
    found = []
    for name in os.listdir(incoming):
        if name.startswith(prefixes):
            with contextlib.suppress(FileNotFoundError):
                if (incoming / name).lstat().st_ino == inode or _is_marker_of(incoming / name, key, inode):
                    found.append(name)
    return found


def drop(incoming: Path, key: EpisodeKey, inode: int) -> None:
    """Remove them: the episode is in the index."""
    for name in traces_of(incoming, key, inode):
        (incoming / name).unlink(missing_ok=True)


def key_of_marker(name: str, content: bytes) -> EpisodeKey | None:
    """The episode that a marker tells of; None when a crash tore it."""
    file_name = os.fsdecode(content)
    episode_id = file_name.removesuffix(protocol.EPISODE_SUFFIX)
    try:
        return EpisodeKey(name.partition("~")[0], episode_id) if episode_id != file_name else None
    except ValueError:
        return None


def _is_marker_of(path: Path, key: EpisodeKey, inode: int) -> bool:
    if not path.name.endswith(linking.MARKER_SUFFIX):
        return False
    with contextlib.suppress(FileNotFoundError):
        # While an upload of its own is there, a marker is that writer's affair.
        if path.with_name(path.name.removesuffix(linking.MARKER_SUFFIX)).lstat().st_ino != inode:
            return False
    return path.read_bytes() == os.fsencode(key.file_name)

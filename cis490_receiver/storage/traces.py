"""The names in ``incoming/``: what they tell of the upload, and of its episode once it is published.

A name is ``<host_id>~<episode_id>~<stamps>~<hex digits>``, where the stamps are the fields of
`stamps.Stamps` with a dot between them, empty when absent. ``~`` is in none of them. Where the name would be too long
for a file, ``<episode_id>`` is empty. The names of older versions have no stamps and one ``~`` less. The hex digits are
random, or those of the upload in pieces (`partials`) whose bytes the file holds.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import linking

#: Longest file name that Linux file systems take, in bytes (NAME_MAX, limits.h).
NAME_MAX: Final = 255

_NAME: Final = re.compile(r"([^~]+)~([^~]*)~(?:([^~]*)~)?([0-9a-f]{1,32})")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a name in ``incoming/`` says."""

    host_id: str
    #: None where the two ids together were too long.
    episode_id: str | None
    #: None where the name does not tell them.
    stamps: Stamps | None
    digits: str


def new_name(key: EpisodeKey, stamps: Stamps) -> str:
    """A new name that tells recovery the key and the stamps; for ids too long to fit, the host and the stamps."""
    return name_of(key, stamps, os.urandom(8).hex())


def name_of(key: EpisodeKey, stamps: Stamps, digits: str) -> str:
    """The same with these hex digits, 32 at most."""
    rest = f"{'.'.join(stamps.words())}~{digits}"
    name = f"{key.host_id}~{key.episode_id}~{rest}"
    return name if len(linking.marker_of(name)) <= NAME_MAX else f"{key.host_id}~~{rest}"


def parse(name: str) -> Trace | None:
    """Read the name of an upload or of its marker; None when it is none that `new_name` gives, now or in an older
    version."""
    match = _NAME.fullmatch(name.removesuffix(linking.MARKER_SUFFIX))
    if match is None:
        return None
    host_id, episode_id, stamps, digits = match.groups()
    if not all(protocol.is_valid_id(part) for part in (host_id, episode_id or host_id)):
        return None
    said = None if stamps is None else Stamps.of_words(stamps.split("."))
    return Trace(host_id, episode_id or None, said, digits)


def stamps_in(names: list[str]) -> Stamps | None:
    """What the traces `names` of one episode say of it; None where they do not tell, or do not agree."""
    said = {trace.stamps if (trace := parse(name)) else None for name in names}
    return said.pop() if len(said) == 1 else None


def traces_of(incoming: Path, key: EpisodeKey, inode: int) -> list[str]:
    """The names in the folder `incoming` that an upload of `key`, published as the file `inode`, left."""
    prefixes = (f"{key.host_id}~{key.episode_id}~", f"{key.host_id}~~")
    found = []
    for name in os.listdir(incoming):
        if name.startswith(prefixes):
            with contextlib.suppress(FileNotFoundError):
                status = (incoming / name).lstat()
                regular = stat.S_ISREG(status.st_mode)
                if regular and (status.st_ino == inode or _is_marker_of(incoming / name, key, inode)):
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

"""What lies where in a mirror's folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

from cis490_receiver.models import EpisodeKey

#: What was read of the receiver's index, whole or as far as filters choose.
REMOTE_FILE: Final = "remote.jsonl"
LISTED_FILE: Final = "listed.jsonl"
#: Episodes that the receiver withdrew.
WITHDRAWN_FOLDER: Final = "withdrawn"
STEP_BYTES: Final = 1 << 20


def path_in(folder: Path, key: EpisodeKey) -> Path:
    """Where the episode lies in a mirror's folder."""
    return folder / "episodes" / key.host_id / key.file_name


def hash_file(path: Path) -> tuple[Any, int]:
    """The running SHA-256 of a file, and its length."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while piece := stream.read(STEP_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest, size

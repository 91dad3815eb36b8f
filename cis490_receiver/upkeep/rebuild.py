"""An index line from nothing but the stored bytes: what recovery and reindex fall back on."""

from __future__ import annotations

import logging
import os
from typing import Any, BinaryIO

from cis490_receiver import archive, protocol
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey, wall_time
from cis490_receiver.storage.base import Held

log = logging.getLogger(__name__)


def rebuild_held(key: EpisodeKey, sha256: str, held: Held) -> Episode:
    """`rebuild_episode` for an episode that is held (an `ingest.Rebuild`)."""
    return rebuild_episode(key, sha256, held.open())


def rebuild_episode(key: EpisodeKey, sha256: str, stream: BinaryIO) -> Episode:
    """The index line of `key`, whose stored bytes are `stream` and hash to `sha256`.

    What a PUT's headers said is taken from ``meta.json`` in the tarball where it says the same; the file's
    modification time stands in for the time of arrival. What cannot be told is null.
    """
    status = os.fstat(stream.fileno())
    try:
        meta = archive.read_meta(stream)
    except archive.ArchiveError as exc:
        log.warning(event("meta-unreadable", host=key.host_id, id=key.episode_id, reason=exc))
        meta = {}
    version = meta.get("schema_version")
    return Episode(
        host_id=key.host_id,
        episode_id=key.episode_id,
        sha256=sha256,
        size_bytes=status.st_size,
        schema_version=version if type(version) is int and abs(version) < 10**18 else protocol.SCHEMA_VERSION,
        code_commit=_text(meta, "code_commit", protocol.is_commit),
        episode_type=_text(meta, "episode_type", protocol.EPISODE_TYPES.__contains__),
        benign_profile=_text(meta, "benign_profile", protocol.BENIGN_PROFILES.__contains__),
        received_at_wall=wall_time(status.st_mtime_ns),
        received_at_ns=status.st_mtime_ns,
    )


def _text(meta: dict[str, Any], name: str, is_good: Any) -> str | None:
    value = meta.get(name)
    if not isinstance(value, str):
        return None
    value = value.strip().lower()
    return value if is_good(value) else None

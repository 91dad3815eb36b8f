"""An index line from what a dead writer, or a lost index, left: what recovery and reindex fall back on.

What a PUT's headers said is in the upload's trace as long as there is one. Else ``meta.json`` in the tarball stands
in for it, and what it does not tell is null. The file's modification time stands in for the time of arrival.
"""

from __future__ import annotations

import logging
from typing import BinaryIO

from cis490_receiver import archive
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey, Upload, recordable_ns
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import Held

log = logging.getLogger(__name__)


def rebuild_from_trace(key: EpisodeKey, held: Held) -> Episode | None:
    """The index line of `key`; None when no trace tells what it needs. The archive is hashed and not looked into.

    Raises:
        StorageFailed: the episode or the traces cannot be read.
    """
    stamps = held.stamps()
    return None if stamps is None else _line(key, stamps, held)


def rebuild_held(key: EpisodeKey, held: Held) -> Episode:
    """The index line of `key`, from ``meta.json`` where no trace tells more.

    Raises:
        StorageFailed: the episode or the traces cannot be read.
    """
    stamps = held.stamps()
    return _line(key, _read_stamps(key, held.open()) if stamps is None else stamps, held)


def _line(key: EpisodeKey, stamps: Stamps, held: Held) -> Episode:
    upload = Upload(key, held.hexdigest(), stamps)
    return Episode.from_upload(
        upload, size_bytes=held.size_bytes, received_at_ns=recordable_ns(held.modified_ns)
    )


def _read_stamps(key: EpisodeKey, stream: BinaryIO) -> Stamps:
    try:
        meta = archive.read_meta(stream)
    except archive.ArchiveError as exc:
        log.warning(event("meta-unreadable", host=key.host_id, id=key.episode_id, reason=exc))
        return Stamps()
    return Stamps.of_meta(meta)

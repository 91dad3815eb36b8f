"""What is done beside requests: tidying up after a worker that died."""

from __future__ import annotations

import logging
import threading

from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.ingest import Rebuild, recover
from cis490_receiver.logfmt import event
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.upkeep.rebuild import rebuild_from_trace, rebuild_held

log = logging.getLogger(__name__)


def recover_quietly(store: EpisodeStore, index: EpisodeIndex) -> None:
    """`ingest.recover` from the traces alone, for a process that must go on whatever comes of it: the next start
    tries again. No archive is looked into, so a start takes as long as hashing what was in flight."""
    _recover_with(rebuild_from_trace, store, index)


def complete_in_background(store: EpisodeStore, index: EpisodeIndex) -> threading.Thread:
    """Begin to complete what `recover_quietly` leaves: episodes whose traces, made by an older version, do not tell
    what their headers said, so that what ``meta.json`` says is taken for it.

    `store` and `index` are the thread's from here on. It may end with the process, at any instant: what it has not
    done is left to the next one.
    """
    thread = threading.Thread(
        target=_recover_with, args=(rebuild_held, store, index), name="recovery", daemon=True
    )
    thread.start()
    return thread


def _recover_with(rebuild: Rebuild, store: EpisodeStore, index: EpisodeIndex) -> None:
    try:
        recover(store, index, rebuild)
        index.close()
    except (ReceiverError, OSError) as exc:
        log.error(event("recovery-failed", reason=exc))

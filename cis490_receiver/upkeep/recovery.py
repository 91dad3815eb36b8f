"""What is done beside requests: tidying up after a worker that died."""

from __future__ import annotations

import logging

from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.ingest import recover
from cis490_receiver.logfmt import event
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.upkeep.rebuild import rebuild_held

log = logging.getLogger(__name__)


def recover_quietly(store: FilesystemStore, index: LocalIndex) -> None:
    """`ingest.recover`, for a process that must go on whatever comes of it: the next start tries again."""
    try:
        recover(store, index, rebuild_held)
        index.close()
    except (ReceiverError, OSError) as exc:
        log.error(event("recovery-failed", reason=exc))

"""What is known of the fleet at a moment, for the commands that judge it."""

from __future__ import annotations

import random
import time

from cis490_receiver.backends import Backends
from cis490_receiver.config import Settings
from cis490_receiver.monitor import presence
from cis490_receiver.monitor.facts import Facts, gather
from cis490_receiver.monitor.presence import Presence


def look(settings: Settings, backends: Backends, now_ns: int, seen: Presence | None = None) -> Facts:
    """Look at what was stored, refused, reported and said of hosts; `seen` is what `look_at_episodes` gave.

    Raises:
        ReceiverError, OSError: it could not be read.
    """
    return gather(
        now_ns=now_ns,
        settings=settings,
        index=backends.index,
        store=backends.store,
        rejections=backends.rejections,
        reports=backends.reports,
        gate=backends.gate_list.read() if settings.gate_enabled else None,
        quarantined=backends.inventory.quarantined(),
        retirements=backends.retirements.all(),
        presence=seen,
        troubles=backends.inspections.read().troubles,
    )


def look_at_episodes(backends: Backends, now_ns: int, choose: random.Random) -> Presence:
    """Look whether some of the indexed episodes are there.

    Raises:
        ReceiverError: the index cannot be read, or the folder of the episodes.
    """
    found = presence.look(
        backends.index,
        backends.inventory,
        presence.recall(backends.faults),
        now_ns=now_ns,
        choose=choose,
        monotonic=time.monotonic,
    )
    presence.remember(backends.faults, found)
    return found

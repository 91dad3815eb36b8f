"""Uploads in pieces beside requests: what receivers and commands do with them alike."""

from __future__ import annotations

import logging
from typing import Protocol

from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.logfmt import event
from cis490_receiver.policy.inspection import inspector
from cis490_receiver.resumable import Resumables
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.storage.base.partials import Partials

log = logging.getLogger(__name__)


class Places(Protocol):
    """Where uploads and episodes are kept (`backends.Backends`)."""

    @property
    def partials(self) -> Partials:
        """The uploads."""
        ...

    @property
    def store(self) -> EpisodeStore:
        """The episodes."""
        ...

    @property
    def index(self) -> EpisodeIndex:
        """Their records."""
        ...


def resumables_of(settings: Settings, places: Places, clock: Clock) -> Resumables:
    """The uploads in pieces of a receiver with these settings."""
    return Resumables(
        partials=places.partials,
        store=places.store,
        index=places.index,
        clock=clock,
        inspector=inspector(settings),
        expire_hours=settings.upload_expire_hours,
    )


def tidy_quietly(resumables: Resumables) -> None:
    """`Resumables.tidy`, for a process that must go on whatever comes of it."""
    try:
        resumables.tidy()
    except ReceiverError as exc:
        log.error(event("uploads-not-tidied", reason=exc.reason))

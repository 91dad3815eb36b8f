"""One episode's way in. The order of the steps is the promise: look for every sync here.

A 201 or 200 means that the bytes, their name and their index line are on stable storage. The steps are::

    incoming file  →  write, hash  →  sync the bytes  →  publish: name, sync the folder
                   →  append the index line, synced  →  drop the incoming name

With ``validate = "full"`` the body is decoded beside that, while it comes; the verdict is awaited before the sync.

A writer holds its upload from the first step to the last, and whoever finds a name taken waits until its
holder is done or dead. So there is one publisher a name, and what is found published without an index line
belongs to a writer that died or failed: the finder completes it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from cis490_receiver.clock import Clock
from cis490_receiver.errors import Conflict, EpisodeBusy, EpisodeDamaged, ReceiverError, ShaMismatch
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.logfmt import event
from cis490_receiver.models import Episode, EpisodeKey, Upload
from cis490_receiver.policy.decoding import Look
from cis490_receiver.storage.base import EpisodeStore, Held, Incoming

log = logging.getLogger(__name__)

#: How long a finder waits for the writer that is publishing the same name.
HOLD_SECONDS: Final = 30.0


class Body(Protocol):
    """The bytes of one upload."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its start, as far as bytes are at hand; 0 at the body's end, which is its
        announced end and nothing else.

        Raises:
            ReceiverError: the body is cut short, malformed, too slow or too large.
        """
        ...

    def peek_small(self) -> bytes | None:
        """The whole body, before any of it was read, where it is small (64 KiB) and its sender sends it in any
        case. None for a larger one, where the sender waits for leave (RFC 9110 §10.1.1) and shall not be given
        it, and where it is announced as empty: so a sender asks about a name, through any proxy. `readinto` gives
        every byte all the same.

        Raises:
            ReceiverError: as `readinto`.
        """
        ...


class Inspector(Protocol):
    """Decides whether a body is worth keeping (`policy.inspection`)."""

    def look(self, size_bytes: int | None) -> AbstractContextManager[Look]:
        """A look at a body of `size_bytes` (None: not announced) while it comes. Nothing of it goes on after its
        context."""
        ...

    def look_at_start(self, first_bytes: bytes) -> None:
        """Raises:
        BadArchive: no archive begins with `first_bytes`, the body's first piece.
        """
        ...

    def look_at_whole(self, open_body: Callable[[], BinaryIO]) -> None:
        """Raises:
        BadArchive: the whole body is no archive that can be opened.
        """
        ...


#: Makes the index line of a held episode that has none; None leaves the episode to somebody who can tell more.
Rebuild = Callable[[EpisodeKey, Held], Episode | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an upload: stored now, or there already with the same bytes."""

    new: bool
    episode: Episode


def receive_episode(
    upload: Upload,
    body: Body,
    *,
    store: EpisodeStore,
    index: EpisodeIndex,
    clock: Clock,
    inspector: Inspector,
) -> Outcome:
    """Store the episode that `upload` announces and `body` brings.

    Returns:
        The outcome, durable.

    Raises:
        Conflict: other bytes are stored under this name, and stay.
        EpisodeDamaged: what is stored under this name has lost bytes.
        ShaMismatch: the body is not what was announced; nothing of it stays. Of a body whose name is taken this
            is known only where it is small.
        BadArchive: `inspector` refuses it; nothing stays.
        ReceiverError: whatever `body`, `store` and `index` raise; nothing was promised.
    """
    started = time.monotonic()
    # A name that is taken is answered without taking the bytes again, but for those that are here anyway.
    if store.exists(upload.key):
        _check_small(upload, body)
        if (known := already_there(upload, store, index, clock)) is not None:
            return known
    with store.receive(upload.key, upload.stamps) as incoming, inspector.look(upload.size_bytes) as look:
        _copy(body, incoming, look)
        episode = keep(upload, incoming, index=index, clock=clock, conclude=look.conclude)
        if episode is not None:
            log.info(_stored_line(episode, time.monotonic() - started))
            return Outcome(True, episode)
    # Another writer of this name was faster.
    if (known := already_there(upload, store, index, clock)) is None:
        # Taken a moment ago and free now: a writer that failed has given it up.
        raise EpisodeBusy
    return known


def keep(
    upload: Upload, incoming: Incoming, *, index: EpisodeIndex, clock: Clock, conclude: Callable[[], None]
) -> Episode | None:
    """Make an episode of a body that is there as a whole, however it came, unless `conclude` refuses it.

    Returns:
        The episode, durable; None when its name is taken, and nothing was changed.

    Raises:
        ShaMismatch, BadArchive: as `receive_episode`.
        StorageFull, StorageFailed: it was not stored, and nothing was promised.
    """
    actual = incoming.hexdigest()
    if actual != upload.sha256:
        raise ShaMismatch(actual)
    conclude()
    incoming.sync()
    episode = Episode.from_upload(upload, size_bytes=incoming.size_bytes, received_at_ns=clock.now_ns())
    placed = incoming.publish()
    if placed is None:
        return None
    if not index.append(episode, placed):
        incoming.discard()
        return None
    incoming.settle()
    return episode


def recover(store: EpisodeStore, index: EpisodeIndex, rebuild: Rebuild) -> int:
    """Tidy up after writers that died: complete what they published, discard the rest. Safe beside live
    writers, and as often as you like. What fails for one episode is logged, and keeps nobody from the others.

    Returns:
        How many episodes were completed.
    """
    completed = 0
    for key in store.unsettled():
        try:
            completed += _recover(key, store, index, rebuild)
        except ReceiverError as exc:
            log.error(event("recovery-failed", host=key.host_id, id=key.episode_id, reason=exc))
    return completed


def _recover(key: EpisodeKey, store: EpisodeStore, index: EpisodeIndex, rebuild: Rebuild) -> bool:
    """Whether `key`, published by a writer that died, was missing in the index and is in it now."""
    with store.hold(key, wait_seconds=HOLD_SECONDS) as held:
        if held is None:
            return False
        missing = _find_settled(key, index) is None
        if missing:
            episode = rebuild(key, held)
            if episode is None:
                return False
            _complete(episode, held, index)
            log.info(event("recovered", host=key.host_id, id=key.episode_id, sha=episode.sha256))
        held.settle()
        return missing


def _copy(body: Body, incoming: Incoming, look: Look) -> None:
    while True:
        buffer = incoming.lend()
        count = body.readinto(buffer)
        if count == 0:
            return
        look.look_at(buffer[:count])
        incoming.commit(count)


def _check_small(upload: Upload, body: Body) -> None:
    whole = body.peek_small()
    if whole is not None and (actual := hashlib.sha256(whole).hexdigest()) != upload.sha256:
        raise ShaMismatch(actual)


def already_there(upload: Upload, store: EpisodeStore, index: EpisodeIndex, clock: Clock) -> Outcome | None:
    """The outcome for a name that is taken, made durable; None when it is free."""
    with store.hold(upload.key, wait_seconds=HOLD_SECONDS) as held:
        if held is None:
            return None
        episode = _find_settled(upload.key, index)
        if episode is None:
            episode = _adopt(upload, held, index, clock)
        elif held.size_bytes != episode.size_bytes:
            log.error(
                event("episode-damaged", host=episode.host_id, id=episode.episode_id, size=held.size_bytes)
            )
            raise EpisodeDamaged
        else:
            held.make_durable()
        held.settle()
    if episode.sha256 != upload.sha256:
        raise Conflict(episode.sha256)
    log.info(event("already-present", host=episode.host_id, id=episode.episode_id, sha=episode.sha256))
    return Outcome(False, episode)


def _find_settled(key: EpisodeKey, index: EpisodeIndex) -> Episode | None:
    """The record of `key`, durable; None when there is none, which is durable too: a line that a crash tore
    or a failed sync took back must not come to light when its episode is being named anew."""
    index.make_durable()
    return index.find(key)


def _adopt(upload: Upload, held: Held, index: EpisodeIndex, clock: Clock) -> Episode:
    """Complete a published episode that is in no index: its writer died or failed before its answer."""
    digest = held.hexdigest()
    if digest != upload.sha256:
        raise Conflict(digest)
    episode = Episode.from_upload(upload, size_bytes=held.size_bytes, received_at_ns=clock.now_ns())
    _complete(episode, held, index)
    return episode


def _complete(episode: Episode, held: Held, index: EpisodeIndex) -> None:
    held.republish()
    if not index.append(episode, held.placed):
        raise EpisodeBusy


def _stored_line(episode: Episode, seconds: float) -> str:
    return event(
        "stored",
        host=episode.host_id,
        id=episode.episode_id,
        sha=episode.sha256,
        size=episode.size_bytes,
        seconds=f"{seconds:.3f}",
    )

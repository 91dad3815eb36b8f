"""The same way in as `ingest`, piece by piece: an upload that goes on where it was.

An upload is made when everything that a PUT's head decides was decided; that verdict holds as long as the upload does.
Each request then appends at the offset::

    lease  →  bytes, and with every 8 MiB or 2 s:  sync them  →  count them in the log, synced  →  ...  →  let go

and the one that brings the last byte makes an episode of the whole, by the steps of `ingest.keep`, and puts down how it
ended before it answers. Whoever asks again is told the same for a day. What a request was cut in stays, for the price
of those two syncs; what a crash takes is what was not counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver import errors
from cis490_receiver.clock import Clock
from cis490_receiver.errors import BadArchive, Conflict, EpisodeBusy, ReceiverError, ShaMismatch
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.ingest import Inspector, already_there, keep
from cis490_receiver.logfmt import event
from cis490_receiver.models import Upload, wall_time
from cis490_receiver.resumable.piece import Piece, Taking
from cis490_receiver.storage.base import EpisodeStore
from cis490_receiver.storage.base.partials import Announced, Partial, Partials, PartialUpload, Verdict

log = logging.getLogger(__name__)

#: How long a request that sends waits for the one before it to let an upload go, and one that only asks.
LEASE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
#: How long a verdict is kept for whoever asks again.
VERDICT_HOURS: Final = 24
#: How many uploads of one host may wait to be completed.
PER_HOST: Final = 100
_HOUR_NS: Final = 3600 * 10**9
_STORED: Final = "stored"
_ALREADY_PRESENT: Final = "already-present"


@dataclass(frozen=True, slots=True)
class Resumables:
    """The uploads in pieces of one receiver."""

    partials: Partials
    store: EpisodeStore
    index: EpisodeIndex
    clock: Clock
    inspector: Inspector
    expire_hours: int

    def begin(self, upload: Upload, *, owner: str, metadata: str) -> PartialUpload:
        """Make an upload of what a head announces, all of which was judged; one that has ended already where the same
        bytes are stored.

        Raises:
            Conflict: other bytes are stored under its name.
            TooManyUploads: its host has too many that are not completed.
            ReceiverError: as `ingest.receive_episode`.
        """
        announced = Announced(upload, owner, metadata, self.clock.now_ns())
        if self.store.exists(upload.key):
            known = already_there(upload, self.store, self.index, self.clock)
            if known is not None:
                return self.partials.create_ended(announced, self._verdict(_ALREADY_PRESENT, upload.sha256))
        waiting = [
            one
            for one in self._still_waiting(self.partials.waiting(), self._has_expired)
            if one.announced.upload.key.host_id == upload.key.host_id
        ]
        # Of this host alone: what is asked about each costs a request where episodes are kept elsewhere.
        if len(list(self._still_waiting(waiting, self._is_over))) >= PER_HOST:
            raise errors.TooManyUploads
        state = self.partials.create(announced)
        log.info(_event("upload-begun", state, size=announced.size_bytes))
        return state

    def find(self, upload_id: str, *, owner: str) -> PartialUpload:
        """The upload of this name, as it was put down last.

        Raises:
            NotFound: there is none, or it is somebody else's.
            UploadExpired: nothing came for too long.
        """
        state = self.partials.find(upload_id)
        if state is None or state.announced.owner != owner or self._is_forgotten(state):
            raise errors.NotFound("there is no such upload")
        if self._is_expired(state):
            raise errors.UploadExpired
        return state

    def look(self, state: PartialUpload) -> PartialUpload:
        """How `state` is now. One that another request is at work on, or that cannot be written, is given as it was put
        down last; one that has every byte and no verdict is completed.

        Raises:
            UploadLocked: it is being completed right now.
            ReceiverError: the verdict, where that is an error.
        """
        if state.verdict is None:
            try:
                with self.partials.lease(state.upload_id, wait_seconds=LOOK_SECONDS) as partial:
                    state = self._state_of(partial, state)
            except (errors.UploadLocked, errors.StorageFailed):
                # Reading works where writing does not.
                state = self.partials.find(state.upload_id) or state
                if state.verdict is None and state.has_every_byte:
                    raise
        return _told(state)

    def append(self, state: PartialUpload, offset: int, piece: Piece, *, sha256: str | None) -> PartialUpload:
        """Append `piece` at `offset`; with the last byte, complete the upload. `sha256` is the piece's own, where its
        client says it: then all of it is kept, or none. An upload that has ended stays as it is.

        Raises:
            OffsetMismatch: the upload goes on elsewhere.
            UploadOverrun: the piece is longer than what is missing.
            ChecksumMismatch: the piece is not what `sha256` says.
            UploadLocked: another request is at work on it.
            ReceiverError: the piece ended early, the disk is full, …: what came of it stays. Or the verdict.
        """
        if state.verdict is None:
            self.partials.want(state.upload_id)
            with self.partials.lease(state.upload_id, wait_seconds=LEASE_SECONDS) as partial:
                state = self._state_of(partial, state)
                if partial is not None and state.verdict is None:
                    state = self._append(partial, offset, piece, sha256)
        return _told(state)

    def discard(self, state: PartialUpload) -> None:
        """End `state` and forget it, whatever it was.

        Raises:
            UploadLocked: another request is at work on it.
        """
        self.partials.want(state.upload_id)
        with self.partials.lease(state.upload_id, wait_seconds=LEASE_SECONDS) as partial:
            if partial is not None:
                partial.end(self._verdict("deleted"))
        self.partials.forget(state.upload_id)
        log.info(_event("upload-discarded", state, offset=state.offset))

    def tidy(self) -> None:
        """End the uploads of which nothing came for too long, and those whose episode came another way meanwhile, such
        as by a client that never learnt of its first one; forget those that ended more than a day ago. What fails for
        one is logged, and keeps nobody from the others."""
        for _ in self._still_waiting(self.partials.waiting(), self._is_over):
            pass
        self.partials.forget_before(self.clock.now_ns() - VERDICT_HOURS * _HOUR_NS)

    def _still_waiting(
        self, states: Iterable[PartialUpload], is_over: Callable[[PartialUpload], bool]
    ) -> Iterator[PartialUpload]:
        """Those of `states` that go on; `is_over` ends the others."""
        for state in states:
            try:
                if not is_over(state):
                    yield state
            except errors.UploadLocked:
                yield state
            except ReceiverError as exc:
                log.error(_event("upload-not-expired", state, reason=exc.reason))
                yield state

    def _is_over(self, state: PartialUpload) -> bool:
        """Whether an upload that was waiting is not any more: it is ended where it should be."""
        if self._is_expired(state):
            return self._has_expired(state)
        if not self.store.exists(state.announced.upload.key):
            return False
        with self.partials.lease(state.upload_id, wait_seconds=0) as partial:
            return self._state_of(partial, state).verdict is not None

    def expires_ns(self, state: PartialUpload) -> int:
        """When an upload is discarded if nothing more comes of it; when its verdict is forgotten, where it has one."""
        hours = self.expire_hours if state.verdict is None else VERDICT_HOURS
        return state.touched_ns + hours * _HOUR_NS

    def describe(self, state: PartialUpload) -> dict[str, Any]:
        """`state` for programs."""
        upload = state.announced.upload
        return {
            "upload_id": state.upload_id,
            "host_id": upload.key.host_id,
            "episode_id": upload.key.episode_id,
            "sha256": upload.sha256,
            "size_bytes": state.announced.size_bytes,
            "offset": state.reached,
            "status": "under-way" if state.verdict is None else state.verdict.status,
            "begun_at_wall": wall_time(state.announced.at_ns),
            "touched_at_wall": wall_time(state.touched_ns),
            "expires_at_wall": wall_time(self.expires_ns(state)),
        }

    def _is_expired(self, state: PartialUpload) -> bool:
        if state.verdict is not None:
            return state.verdict.status == errors.UploadExpired.code
        return self.clock.now_ns() > self.expires_ns(state)

    def _is_forgotten(self, state: PartialUpload) -> bool:
        return state.verdict is not None and self.clock.now_ns() > self.expires_ns(state)

    def _has_expired(self, state: PartialUpload) -> bool:
        """The same for one of which nothing came for too long."""
        if not self._is_expired(state):
            return False
        with self.partials.lease(state.upload_id, wait_seconds=0) as partial:
            # Something may have come of it just now.
            if partial is None or not self._is_expired(partial.state):
                return False
            partial.end(self._verdict(errors.UploadExpired.code))
        log.warning(_event("upload-expired", state, offset=state.offset))
        return True

    def _state_of(self, partial: Partial | None, before: PartialUpload) -> PartialUpload:
        """How an upload is once it was leased, or could not be because it ended meanwhile."""
        if partial is None:
            state = self.partials.find(before.upload_id)
            if state is None:
                raise errors.NotFound("there is no such upload")
            return state
        upload = partial.state.announced.upload
        if not partial.has_bytes or self.store.exists(upload.key):
            # Stored by this upload's own writer, which died then, or by somebody else.
            return self._end_by_what_is_there(partial)
        if partial.state.has_every_byte:
            return self._complete(partial)
        return partial.state

    def _append(self, partial: Partial, offset: int, piece: Piece, sha256: str | None) -> PartialUpload:
        try:
            Taking(partial, piece, self.inspector, self.clock).take(offset, sha256)
        except BadArchive as exc:
            return self._end(partial, self._verdict(exc.code, reason=exc.details["reason"]))
        return self._complete(partial) if partial.state.has_every_byte else partial.state

    def _complete(self, partial: Partial) -> PartialUpload:
        upload = partial.state.announced.upload
        started = time.monotonic()
        try:
            episode = keep(
                upload,
                partial,
                index=self.index,
                clock=self.clock,
                conclude=lambda: self.inspector.look_at_whole(partial.open),
            )
        except ShaMismatch as exc:
            return self._end(partial, self._verdict(exc.code, exc.details["actual_sha256"]))
        except BadArchive as exc:
            return self._end(partial, self._verdict(exc.code, reason=exc.details["reason"]))
        if episode is None:
            return self._end_by_what_is_there(partial)
        seconds = f"{time.monotonic() - started:.3f}"
        log.info(
            _event("stored", partial.state, sha=episode.sha256, size=episode.size_bytes, completed_in=seconds)
        )
        return self._end(partial, self._verdict(_STORED, episode.sha256))

    def _end_by_what_is_there(self, partial: Partial) -> PartialUpload:
        upload = partial.state.announced.upload
        try:
            known = already_there(upload, self.store, self.index, self.clock)
        except Conflict as exc:
            return self._end(partial, self._verdict(exc.code, exc.details["existing_sha256"]))
        if known is not None:
            # Where the bytes are not here any more, this upload has stored them.
            status = _ALREADY_PRESENT if partial.has_bytes else _STORED
            return self._end(partial, self._verdict(status, upload.sha256))
        if partial.has_bytes:
            # Taken a moment ago and free now.
            raise EpisodeBusy
        log.error(_event(errors.UploadLost.code, partial.state, offset=partial.state.offset))
        return self._end(partial, self._verdict(errors.UploadLost.code))

    def _end(self, partial: Partial, verdict: Verdict) -> PartialUpload:
        partial.end(verdict)
        return partial.state

    def _verdict(self, status: str, sha256: str | None = None, reason: str | None = None) -> Verdict:
        return Verdict(status, self.clock.now_ns(), sha256, reason)


def _told(state: PartialUpload) -> PartialUpload:
    """`state`, unless its verdict is an error."""
    verdict = state.verdict
    if verdict is None or verdict.status in (_STORED, _ALREADY_PRESENT):
        return state
    if verdict.status == ShaMismatch.code:
        raise ShaMismatch(verdict.sha256 or "")
    if verdict.status == Conflict.code:
        raise Conflict(verdict.sha256 or "")
    if verdict.status == BadArchive.code:
        raise BadArchive(verdict.reason or "")
    if verdict.status == errors.UploadLost.code:
        raise errors.UploadLost
    if verdict.status == errors.UploadExpired.code:
        raise errors.UploadExpired
    raise errors.NotFound("there is no such upload")


def _event(name: str, state: PartialUpload, **more: object) -> str:
    key = state.announced.upload.key
    return event(name, host=key.host_id, id=key.episode_id, upload=state.upload_id[:8], **more)

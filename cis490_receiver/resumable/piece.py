"""What one request brings of an upload in pieces: taken, counted as it comes, kept where it breaks off."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from cis490_receiver import errors
from cis490_receiver.clock import Clock
from cis490_receiver.errors import ReceiverError
from cis490_receiver.ingest import Inspector
from cis490_receiver.logfmt import event
from cis490_receiver.storage.base.partials import Partial

log = logging.getLogger(__name__)

CHECKPOINT_BYTES: Final = 8 << 20
CHECKPOINT_SECONDS: Final = 2.0
#: A request whose client says nothing for so long lets go of an upload that another one wants.
GIVE_WAY_SECONDS: Final = 5.0


class Piece(Protocol):
    """The bytes of one request."""

    @property
    def length(self) -> int | None:
        """How many were announced; None for a chunked body."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """See `ingest.Body.readinto`. What has come is not kept waiting for more for longer than about two seconds."""
        ...

    def on_silence(self, tell: Callable[[float], None]) -> None:
        """From here on call `tell` about twice a second with how many seconds nothing has come. What it raises ends
        the wait as if the client were too slow."""
        ...


class GiveWay(TimeoutError):
    """Another request wants the upload, and the client of this one says nothing."""


@dataclass(frozen=True, slots=True)
class Taking:
    """The way of a piece into an upload that is leased."""

    partial: Partial
    piece: Piece
    inspector: Inspector
    clock: Clock

    def take(self, offset: int, sha256: str | None) -> None:
        """Append the piece at `offset`, durably; with `sha256` all of it or nothing.

        Raises:
            OffsetMismatch, UploadOverrun: it does not belong there; nothing was taken.
            ChecksumMismatch: it is not what `sha256` says; nothing is kept.
            BadArchive: no archive begins so.
            ReceiverError: it ended early, …; without `sha256`, what came of it is kept.
        """
        state = self.partial.state
        if offset != state.offset:
            raise errors.OffsetMismatch(state.offset)
        if self.piece.length is not None and self.piece.length > state.announced.size_bytes - offset:
            raise errors.UploadOverrun
        self.piece.on_silence(lambda seconds: self._in_silence(seconds, counted=sha256 is None))
        if sha256 is None:
            with self._keeping():
                self._copy()
        else:
            # Without a checkpoint: what is not put down is nobody's.
            digest = hashlib.sha256()
            self._copy(digest.update, counted=False)
            if digest.hexdigest() != sha256:
                raise errors.ChecksumMismatch
        self.partial.put_down(self.clock.now_ns())

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """What came before the block failed is put down."""
        try:
            yield
        except BaseException:
            # The first failure is the one to be told.
            with contextlib.suppress(ReceiverError):
                self.partial.put_down(self.clock.now_ns())
                state = self.partial.state
                key, name = state.announced.upload.key, state.upload_id[:8]
                log.info(
                    event("upload-cut", host=key.host_id, id=key.episode_id, upload=name, offset=state.offset)
                )
            raise

    def _copy(self, look: Callable[[memoryview], None] = lambda data: None, *, counted: bool = True) -> None:
        partial = self.partial
        counted_bytes, counted_at = partial.size_bytes, time.monotonic()
        while (missing := partial.state.announced.size_bytes - partial.size_bytes) > 0:
            buffer = partial.lend()[:missing]
            count = self.piece.readinto(buffer)
            if count == 0:
                return
            if partial.size_bytes == 0:
                self.inspector.look_at_start(bytes(buffer[: min(count, 16)]))
            look(buffer[:count])
            partial.commit(count)
            now = time.monotonic()
            due = (
                partial.size_bytes - counted_bytes >= CHECKPOINT_BYTES
                or now - counted_at >= CHECKPOINT_SECONDS
            )
            if counted and due:
                partial.checkpoint(self.clock.now_ns())
                counted_bytes, counted_at = partial.size_bytes, now
        if self.piece.readinto(memoryview(bytearray(1))):
            raise errors.UploadOverrun

    def _in_silence(self, seconds: float, *, counted: bool) -> None:
        partial = self.partial
        if counted and seconds >= CHECKPOINT_SECONDS / 2 and partial.size_bytes != partial.state.offset:
            partial.put_down(self.clock.now_ns())
        if seconds >= GIVE_WAY_SECONDS and partial.is_wanted():
            raise GiveWay("another request wants the upload")

"""An upload in pieces that one receiver of many has for itself."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final, Self

from cis490_receiver.errors import ReceiverError, StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.storage.base.partials import PartialUpload, Verdict
from cis490_receiver.storage.base.placements import Placements
from cis490_receiver.storage.object_client import ObjectClient
from cis490_receiver.storage.object_sending import LEND_BYTES, put_piece
from cis490_receiver.storage.objects import IncomingObject, new_object_key
from cis490_receiver.storage.postgres.beside import Beside
from cis490_receiver.storage.postgres.piece_rows import HeldRows, StoredPiece
from cis490_receiver.storage.postgres.upload_rows import Taken

log = logging.getLogger(__name__)

#: The length of a piece at most, in bytes.
PIECE_BYTES: Final = 8 << 20
#: Below this no host has its episodes, and no listing of objects looks.
FOLDER: Final = ".pieces"


class ClusterPartial:
    """See `storage.base.partials.Partial`. One thread at a time.

    While the next piece is received, the one before it is sent and counted: two are in memory.

    Every step of the upload's rows raises UploadLocked once another receiver has it: then this one has lost nothing
    that it promised, and can do nothing more with it.
    """

    def __init__(self, client: ObjectClient, placements: Placements, rows: HeldRows, taken: Taken) -> None:
        self._client = client
        self._placements = placements
        self._rows = rows
        self._taken = taken
        self._state = taken.state
        self._has_bytes: bool | None = None
        self._buffer = bytearray()
        self._filled = 0
        self._size_bytes = taken.state.offset
        #: Stored and not counted yet. It is the thread's beside while that is at work.
        self._sent: list[StoredPiece] = []
        self._beside = Beside()
        self._whole: IncomingObject | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    @property
    def state(self) -> PartialUpload:
        """See `Partial.state`."""
        return self._state

    @property
    def has_bytes(self) -> bool:
        """See `Partial.has_bytes`. The episode is this upload's own where its object is the one that the pieces were
        put together in. Whether each piece is there is found out when that is done, and noted."""
        if self._has_bytes is None:
            self._has_bytes = not (self._taken.is_lost or self._is_episode())
        return self._has_bytes

    def _is_episode(self) -> bool:
        if self._taken.whole_key is None:
            return False
        found = self._placements.find(self._state.announced.upload.key)
        return found is not None and found.object_key == self._taken.whole_key

    @property
    def size_bytes(self) -> int:
        """See `Incoming.size_bytes`."""
        return self._size_bytes

    def lend(self) -> memoryview:
        """See `Incoming.lend`."""
        if self._buffer and self._filled == len(self._buffer):
            self._beside.start(self._next_piece())
        if not self._buffer:
            missing = self._state.announced.size_bytes - self._size_bytes
            self._buffer = bytearray(min(max(missing, LEND_BYTES), PIECE_BYTES))
        return memoryview(self._buffer)[self._filled : self._filled + LEND_BYTES]

    def commit(self, count: int) -> None:
        """See `Incoming.commit`."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None
        self._filled += count
        self._size_bytes += count

    def checkpoint(self, now_ns: int) -> None:
        """See `Partial.checkpoint`."""
        send, offset = self._next_piece(), self._size_bytes

        def step() -> None:
            send()
            self._count(offset, now_ns)

        self._beside.start(step)

    def put_down(self, now_ns: int) -> None:
        """See `Partial.put_down`."""
        self._beside.wait()
        if self._size_bytes != self._state.offset:
            self.checkpoint(now_ns)
            self._beside.wait()

    def hexdigest(self) -> str:
        """See `Incoming.hexdigest`: of the whole, put together."""
        return self._put_together().hexdigest()

    def open(self) -> BinaryIO:
        """See `Incoming.open`: the whole, put together."""
        return self._put_together().open()

    def sync(self) -> None:
        """See `Incoming.sync`. `put_down` has done it for the pieces; this is the whole."""
        if not self._state.has_every_byte:
            raise StorageFailed from ValueError("an upload was to be synced that is not whole")
        self._put_together().sync()

    def publish(self) -> str:
        """See `Incoming.publish`."""
        whole = self._put_together()
        self._rows.check()
        return whole.publish()

    def discard(self) -> None:
        """See `Incoming.discard`."""
        if self._whole is not None:
            self._whole.discard()

    def settle(self) -> None:
        """See `Incoming.settle`."""
        if self._whole is not None:
            self._whole.settle()

    def end(self, verdict: Verdict) -> None:
        """See `Partial.end`."""
        garbage = self._rows.end(verdict)
        self._state = dataclasses.replace(self._state, verdict=verdict, offset=0, touched_ns=verdict.at_ns)
        self._delete(garbage)

    def is_wanted(self) -> bool:
        """See `Partial.is_wanted`. Where that cannot be told, nobody can take it either."""
        with contextlib.suppress(ReceiverError):
            return self._rows.is_wanted()
        return False

    def _next_piece(self) -> Callable[[], None]:
        """What is to be done to store what was committed since the last piece."""
        if not self._filled:
            return lambda: None
        state = self._state
        name = f"{FOLDER}/{state.upload_id}-{secrets.token_hex(16)}"
        start = self._size_bytes - self._filled
        piece = StoredPiece(self._client.config.named(name), start, self._filled)
        data = memoryview(self._buffer)[: self._filled]
        self._buffer, self._filled = bytearray(), 0

        def send() -> None:
            self._rows.note(piece)
            put_piece(self._client, piece.object_key, data)
            self._sent.append(piece)

        return send

    def _count(self, offset: int, now_ns: int) -> None:
        self._rows.count(self._sent, start=self._state.offset, end=offset, now_ns=now_ns)
        self._state = dataclasses.replace(self._state, offset=offset, touched_ns=now_ns)
        self._sent = []

    def _put_together(self) -> IncomingObject:
        """What was committed, as one object; hashed while it is made. Once until something more is committed."""
        if self._whole is None:
            self._beside.wait()
            key = self._state.announced.upload.key
            object_key = new_object_key(self._client, key)
            self._rows.put_together_in(object_key)
            self._placements.register(key, object_key)
            whole = IncomingObject(self._client, self._placements, object_key)
            try:
                for data in self._committed():
                    whole.append(data)
            except BaseException:
                whole.close()
                raise
            self._whole = whole
        return self._whole

    def _committed(self) -> Iterator[memoryview]:
        offset = 0
        for piece in (*self._rows.counted(), *self._sent):
            if piece.start != offset:
                break
            offset += piece.size_bytes
            yield self._read(piece)
        if offset + self._filled != self._size_bytes:
            self._lose()
            raise StorageFailed from ValueError("the pieces of an upload do not make the whole")
        yield memoryview(self._buffer)[: self._filled]

    def _read(self, piece: StoredPiece) -> memoryview:
        try:
            return self._client.read(piece.object_key, 0, piece.size_bytes)
        except StorageFailed:
            # Where the store cannot tell now, its failure is raised.
            if self._client.size_of(piece.object_key) != piece.size_bytes:
                self._lose()
            raise

    def _lose(self) -> None:
        """From the next lease on the upload can only be ended."""
        self._rows.lose()
        state = self._state
        key, name = state.announced.upload.key, state.upload_id[:8]
        log.error(event("piece-lost", host=key.host_id, id=key.episode_id, upload=name))

    def _delete(self, object_keys: Sequence[str]) -> None:
        """Delete garbage, and then its notes. What cannot be done now is the collector's."""
        try:
            self._client.delete_all(object_keys)
            self._rows.forget(object_keys)
        except ReceiverError as exc:
            log.warning(event("pieces-left", upload=self._state.upload_id[:8], reason=exc.reason))

    def _close(self) -> None:
        """Let it go. A piece whose sending failed may still come to be, and is left to the collector."""
        with contextlib.suppress(ReceiverError):
            self._beside.wait()
        if self._whole is not None:
            self._whole.close()
        self._buffer = bytearray()
        if self._sent:
            with contextlib.suppress(ReceiverError):
                self._delete(self._rows.drop(self._sent))

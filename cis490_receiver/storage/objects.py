"""Episodes as objects of an S3-compatible store: ``<prefix>/<host_id>/<episode_id>/<unique>``.

Names decide nothing here: every upload has an object of its own, and `Placements` knows which one is the episode.
The order of the steps, which is the promise::

    note the upload, durably  →  stream to its object, hashing  →  complete it, find it whole
        →  the index takes the record in the note's place  →  201

What a crash leaves is a note and perhaps an object, and `Collector` takes them away, the note first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import BinaryIO

from cis490_receiver.errors import EpisodeDamaged, ReceiverError, StorageFailed, StoreUnavailable
from cis490_receiver.logfmt import event
from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage.base import Held, OpenEpisode
from cis490_receiver.storage.base.placements import Placement, Placements
from cis490_receiver.storage.object_client import ObjectClient
from cis490_receiver.storage.object_reading import open_object, sha256_of_object
from cis490_receiver.storage.object_sending import ObjectWriter, put_piece

log = logging.getLogger(__name__)

#: The object that `check_writable` writes, below the prefix.
PROBE = "writable"
_PROBE_BYTES = bytes(1000)


class ObjectStore:
    """See `storage.base.EpisodeStore`. Makes no connection before it is used: a fork is harmless."""

    def __init__(self, client: ObjectClient, placements: Placements) -> None:
        self._client = client
        self._placements = placements

    def free_bytes(self) -> None:
        """See `EpisodeStore.free_bytes`: nobody can tell."""
        return

    def check_writable(self) -> None:
        """See `EpisodeStore.check_writable`: one small object is written again and again, and found as an upload's
        is."""
        put_piece(self._client, self._client.config.named(PROBE), memoryview(_PROBE_BYTES))

    @contextlib.contextmanager
    def receive(self, key: EpisodeKey, stamps: Stamps) -> Iterator[IncomingObject]:
        """See `EpisodeStore.receive`. The stamps are in the record; nobody completes what a crash left."""
        object_key = new_object_key(self._client, key)
        self._placements.register(key, object_key)
        incoming = IncomingObject(self._client, self._placements, object_key)
        try:
            yield incoming
        except StoreUnavailable:
            # The object may come to be there later, and to ask for that would keep the sender waiting again.
            incoming.leave()
            raise
        finally:
            incoming.close()

    def exists(self, key: EpisodeKey) -> bool:
        """See `EpisodeStore.exists`."""
        return self._placements.find(key) is not None

    def open(self, key: EpisodeKey) -> OpenEpisode | None:
        """See `EpisodeStore.open`. An episode whose object is gone is not there, as one whose file is."""
        placement = self._placements.find(key)
        if placement is None:
            return None
        size_bytes = self._client.size_of(placement.object_key)
        if size_bytes is None:
            log.error(
                event(EpisodeDamaged.code, host=key.host_id, id=key.episode_id, file=placement.object_key)
            )
            return None
        stream = open_object(self._client, placement.object_key, size_bytes)
        return OpenEpisode(stream, size_bytes, placement.modified_ns)

    @contextlib.contextmanager
    def hold(self, key: EpisodeKey, *, wait_seconds: float) -> Iterator[HeldObject | None]:
        """See `EpisodeStore.hold`. What has a record has no writer any more, so there is nobody to wait for."""
        placement = self._placements.find(key)
        if placement is None:
            yield None
            return
        with HeldObject(self._client, self._placements, key, placement) as held:
            yield held

    def unsettled(self) -> Iterator[EpisodeKey]:
        """See `EpisodeStore.unsettled`: what has no record was promised to nobody, and is the collector's."""
        return iter(())

    def all_keys(self) -> Iterator[EpisodeKey]:
        """See `EpisodeStore.all_keys`."""
        return self._placements.all_keys()

    def quarantine(self, key: EpisodeKey, is_rotten: Callable[[Held], bool]) -> bool:
        """See `EpisodeStore.quarantine`: the object stays where it is, and is the episode no more."""
        with self.hold(key, wait_seconds=0) as held:
            if held is None or not is_rotten(held):
                return False
            done = self._placements.set_aside(key, held.placed)
            if done:
                log.warning(event("quarantined", host=key.host_id, id=key.episode_id, file=held.placed))
            return done


def new_object_key(client: ObjectClient, key: EpisodeKey) -> str:
    """The name of an object for one upload of `key`, which no other upload has."""
    return client.config.named(f"{key.host_id}/{key.episode_id}/{secrets.token_hex(16)}")


class IncomingObject:
    """See `storage.base.Incoming`. One thread at a time."""

    def __init__(self, client: ObjectClient, placements: Placements, object_key: str) -> None:
        self._client = client
        self._placements = placements
        self._object_key = object_key
        self._writer = ObjectWriter(client, object_key)
        #: Whether it is known what became of the object, and there is nothing left to do.
        self._is_settled = False

    @property
    def size_bytes(self) -> int:
        """See `Incoming.size_bytes`."""
        return self._writer.size_bytes

    def lend(self) -> memoryview:
        """See `Incoming.lend`."""
        return self._writer.lend()

    def commit(self, count: int) -> None:
        """See `Incoming.commit`."""
        self._writer.commit(count)

    def append(self, data: memoryview) -> None:
        """Commit all of `data`. Raises as `lend` does."""
        self._writer.append(data)

    def hexdigest(self) -> str:
        """See `Incoming.hexdigest`."""
        return self._writer.hexdigest()

    def open(self) -> BinaryIO:
        """See `Incoming.open`. What has more than one part can be read when it is complete: nothing more may be
        committed then."""
        small = self._writer.small()
        if small is not None:
            return io.BytesIO(small)
        self._writer.finish()
        return open_object(self._client, self._object_key, self.size_bytes)

    def sync(self) -> None:
        """See `Incoming.sync`: the store has the whole object, and it is what was committed."""
        self._writer.finish()

    def publish(self) -> str:
        """See `Incoming.publish`: the bytes are where they stay, and the index decides what they are."""
        if not self._writer.is_sent:
            raise StorageFailed from ValueError("published before it was synced")
        return self._object_key

    def discard(self) -> None:
        """See `Incoming.discard`. The upload is given up first, and nothing is deleted of which an episode was made or
        can still come. What may appear later is the collector's."""
        if self._placements.give_up(self._object_key):
            self._client.delete(self._object_key)
            if not self._writer.may_come:
                self._placements.forget([self._object_key])
        self._is_settled = True

    def settle(self) -> None:
        """See `Incoming.settle`: the record took the note's place, so there is nothing left."""
        self._is_settled = True

    def leave(self) -> None:
        """Leave it, its note and its object, to the collector."""
        self._is_settled = True

    def close(self) -> None:
        """Discard what did not become an episode. Where that is not known, as when the answer to a commit was lost,
        giving the upload up decides it. What could not be discarded is left to the collector: it makes no answer
        worse."""
        self._writer.close()
        if self._is_settled:
            return
        try:
            self.discard()
        except ReceiverError as exc:
            log.warning(event("upload-left", file=self._object_key, reason=exc.reason.partition("\n")[0]))


class HeldObject:
    """See `storage.base.Held`."""

    def __init__(
        self, client: ObjectClient, placements: Placements, key: EpisodeKey, placement: Placement
    ) -> None:
        self._client = client
        self._placements = placements
        self._key = key
        self._placement = placement
        self._streams = contextlib.ExitStack()

    def __enter__(self) -> HeldObject:
        return self

    def __exit__(self, *exc: object) -> None:
        self._streams.close()

    @property
    def size_bytes(self) -> int:
        """See `Held.size_bytes`: the object's own; 0 where it is gone."""
        return self._client.size_of(self._placement.object_key) or 0

    @property
    def placed(self) -> str:
        """See `Held.placed`."""
        return self._placement.object_key

    @property
    def modified_ns(self) -> int:
        """See `Held.modified_ns`."""
        return self._placement.modified_ns

    def hexdigest(self) -> str:
        """See `Held.hexdigest`.

        Raises:
            EpisodeDamaged: the object is gone.
        """
        size_bytes = self._client.size_of(self._placement.object_key)
        if size_bytes is None:
            raise EpisodeDamaged
        return sha256_of_object(self._client, self._placement.object_key, size_bytes)

    def open(self) -> BinaryIO:
        """See `Held.open`."""
        stream = open_object(self._client, self._placement.object_key, self.size_bytes)
        return self._streams.enter_context(stream)

    def stamps(self) -> None:
        """See `Held.stamps`: the record has them."""
        return

    def make_durable(self) -> None:
        """See `Held.make_durable`: the store acknowledged the object before there was a record."""
        if self._placements.confirm(self._key) != self._placement:
            raise StorageFailed from ValueError("the episode is another object now")

    def republish(self) -> None:
        """See `Held.republish`: what can be held has its record."""
        self.make_durable()

    def settle(self) -> None:
        """See `Held.settle`: there is nothing to settle."""

"""Uploads in pieces for receivers on many machines: how each is and who has it in PostgreSQL, its bytes as objects.

Any receiver goes on with what another one began. The steps, which are the promise::

    note a piece, durably  →  write its object, find it whole
                           →  in one transaction: the piece is counted, the offset moves

each of which fails when another receiver has the upload by now. A holder that dies has it for `LEASE_SECONDS` more; one
that was merely silent so long finds out at its next step. When nothing is missing, the pieces are put together in an
object of the episode's own (`objects`), and deleted once the verdict stands.
"""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Final

from cis490_receiver.errors import ReceiverError, UploadLocked
from cis490_receiver.postgres.pool import Database
from cis490_receiver.postgres.while_any import WhileAny
from cis490_receiver.storage.base.partials import Announced, PartialUpload, Verdict
from cis490_receiver.storage.base.placements import Placements
from cis490_receiver.storage.object_client import ObjectClient
from cis490_receiver.storage.postgres.cluster_partial import ClusterPartial
from cis490_receiver.storage.postgres.piece_rows import HeldRows, PieceRows
from cis490_receiver.storage.postgres.upload_rows import UploadRows

#: How long a dead process keeps others from its uploads; a live one renews its leases four times as often.
LEASE_SECONDS: Final = 8.0
_POLL_SECONDS: Final = 0.1
#: How long the sum of what is still to come is believed.
_SUM_SECONDS: Final = 1.0


class ClusterPartials:
    """See `storage.base.partials.Partials`. Makes no connection before it is used: a fork is harmless.

    Attributes:
        pieces: the objects, for who collects those that were left (`upkeep.collect.collect_pieces`).
    """

    def __init__(
        self,
        database: Database,
        client: ObjectClient,
        placements: Placements,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._client = client
        self._placements = placements
        self._rows = UploadRows(database, lease_seconds)
        #: However long a store takes for a piece, or a client for its next byte: who has an upload goes on to have it.
        self._renewing = WhileAny(self._rows.renew, lease_seconds / 4, name="lease-keeper")
        self._sum = (0.0, 0)
        self.pieces = PieceRows(database)

    def create(self, announced: Announced) -> PartialUpload:
        """See `Partials.create`."""
        state = PartialUpload(secrets.token_hex(16), announced, 0, announced.at_ns, None)
        self._rows.add(state)
        self._sum = (0.0, 0)
        return state

    def create_ended(self, announced: Announced, verdict: Verdict) -> PartialUpload:
        """See `Partials.create_ended`."""
        state = PartialUpload(secrets.token_hex(16), announced, 0, verdict.at_ns, verdict)
        self._rows.add(state)
        return state

    def find(self, upload_id: str) -> PartialUpload | None:
        """See `Partials.find`."""
        return self._rows.find(upload_id)

    @contextlib.contextmanager
    def lease(self, upload_id: str, *, wait_seconds: float) -> Iterator[ClusterPartial | None]:
        """See `Partials.lease`."""
        holder = uuid.uuid4()
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                taken = self._rows.take(upload_id, holder)
                break
            except UploadLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)
        if taken is None:
            yield None
            return
        with self._renewing.asking(holder, upload_id):
            rows = HeldRows(self._database, upload_id, holder)
            try:
                with ClusterPartial(self._client, self._placements, rows, taken) as partial:
                    yield partial
            finally:
                # It runs out, where that cannot be said.
                with contextlib.suppress(ReceiverError):
                    self._rows.let_go(upload_id, holder)

    def want(self, upload_id: str) -> None:
        """See `Partials.want`."""
        with contextlib.suppress(ReceiverError):
            self._rows.want(upload_id)

    def forget(self, upload_id: str) -> None:
        """See `Partials.forget`."""
        self._rows.forget(upload_id)

    def forget_before(self, ns: int) -> None:
        """See `Partials.forget_before`."""
        self._rows.forget_before(ns)

    def waiting(self) -> Iterator[PartialUpload]:
        """See `Partials.waiting`."""
        return iter(self._rows.waiting())

    def announced_bytes(self) -> int:
        """See `Partials.announced_bytes`."""
        good_until, total = self._sum
        if time.monotonic() > good_until:
            total = self._rows.missing_bytes()
            self._sum = (time.monotonic() + _SUM_SECONDS, total)
        return total

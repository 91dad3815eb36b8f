"""The bytes of one episode as they come from a receiver: asked for again, and continued, when the way is broken."""

from __future__ import annotations

import time
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.http_client.backoff import Backoff
from cis490_receiver.http_client.failures import ReceiverFailed, TransportFailed
from cis490_receiver.http_client.reader import Body
from cis490_receiver.http_client.reply import TRANSIENT, retry_after_seconds
from cis490_receiver.models import Episode
from cis490_receiver.trainer.failures import DigestMismatch, EpisodeFailed, EpisodeMissing
from cis490_receiver.trainer.lines import Lines

STEP_BYTES: Final = 1 << 18
#: How often in a row it may fail without a byte coming between.
_ATTEMPTS: Final = 5
_WAIT_SECONDS: Final = 30.0


class Download:
    """A stream of the episode's bytes from `begin` on. Its end is where the index says; whether the bytes are the right
    ones is for who hashes them (`verified`)."""

    def __init__(self, lines: Lines, record: Episode, begin: int = 0) -> None:
        self._lines = lines
        self._record = record
        self._at = begin
        self._line = lines.take()
        self._body: Body | None = None
        self._failures = 0
        self._backoff = Backoff(first_seconds=0.2, max_seconds=_WAIT_SECONDS)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            EpisodeMissing, DigestMismatch: the receiver does not have it, or has another.
            EpisodeFailed: it could not be had, though it was tried again.
        """
        while True:
            try:
                piece = self._next(size)
            except TransportFailed as exc:
                self._failed(exc)
                continue
            self._at += len(piece)
            if piece:
                self._failures = 0
            if self._at > self._record.size_bytes:
                raise DigestMismatch(f"{self._record.key}: the receiver sent more bytes than its index says")
            return piece

    def close(self) -> None:
        """Give the connection back, or close it where there is more to come."""
        self._lines.give_back(self._line)

    def _next(self, size: int) -> bytes:
        if self._body is None:
            self._body = self._begin()
        left = self._record.size_bytes - self._at
        # One byte more than there should be is enough to know.
        piece = self._body.read(min(size, left + 1))
        if left and not piece:
            raise ReceiverFailed("the connection ended early", "try again")
        return piece

    def _begin(self) -> Body:
        record = self._record
        path = protocol.episode_path(record.host_id, record.episode_id)
        body = self._lines.permitted(self._line.go_on(path, self._at, f'"{record.sha256}"'))
        if body.status == 404:
            raise EpisodeMissing(
                f"{record.key} is in the receiver's index, and not on its disk (status 404); "
                "there, `cis490-receiver verify` names such episodes"
            )
        if body.status not in (200, 206):
            seconds = retry_after_seconds(body.headers)
            if body.status in TRANSIENT:
                raise ReceiverFailed(f"status {body.status}", "try again later", retry_after_seconds=seconds)
            raise EpisodeFailed(f"the receiver does not give {record.key}: status {body.status}")
        if body.status == 200 and self._at:
            self._skip_what_is_here(body)
        return body

    def _skip_what_is_here(self, body: Body) -> None:
        """The whole came where its end was asked for."""
        if body.headers.get("ETag", "").strip('W/"') != self._record.sha256:
            raise DigestMismatch(f"{self._record.key}: the receiver has other bytes than its index said")
        left = self._at
        while left:
            piece = body.read(min(left, STEP_BYTES))
            if not piece:
                raise ReceiverFailed("the connection ended early", "try again")
            left -= len(piece)

    def _failed(self, exc: TransportFailed) -> None:
        """Wait before the next try.

        Raises:
            EpisodeFailed: there is none.
        """
        self._body = None
        self._line.drop()
        self._failures += 1
        if not exc.may_pass or self._failures == _ATTEMPTS:
            raise EpisodeFailed(f"cannot read {self._record.key}: {exc.message}; {exc.remedy}") from exc
        time.sleep(min(self._backoff.next_seconds(exc.retry_after_seconds), _WAIT_SECONDS))

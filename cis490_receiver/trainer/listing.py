"""The records that pass some filters, asked of a receiver's listing: ``DIR/listed.jsonl`` is what was read of it.

A listing is newest first, and says nothing of what was taken out. So a mirror remembers the index's generation
(``X-Index-Generation``), in which no record changes but by a newer one, and reads pages until it knows as many episodes
as the receiver counts (``GET /v1/totals``) and meets what it knew before. Killed in between, the next run goes on from
the last page's cursor.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode

from cis490_receiver import i_json
from cis490_receiver.filters import Filters
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import Progress
from cis490_receiver.trainer.follower import INDEX
from cis490_receiver.trainer.layout import LISTED_FILE
from cis490_receiver.trainer.records import lines_of
from cis490_receiver.trainer.remote import MirrorFailed, Remote
from cis490_receiver.trainer.state import State

EPISODES: Final = "/v1/episodes"
_TOTALS: Final = "/v1/totals"
_PAGE: Final = 1000
_LARGEST_ANSWER: Final = 8 << 20
_STEP_BYTES: Final = 1 << 20


class NotListed(Exception):
    """The receiver does not know a filter, or has no such listing: it is of an earlier version."""


class Listing:
    """See `records.Records`. What is withdrawn is among them."""

    def __init__(
        self, remote: Remote, folder: Path, filters: Filters, state: State, progress: Progress
    ) -> None:
        self._remote = remote
        self._path = folder / LISTED_FILE
        self._filters = filters
        self._query = filters.but(withdrawn="include").as_query()
        self._state = state
        self._progress = progress
        #: The records that pass the filters.
        self._known: dict[EpisodeKey, Episode] = {}

    def update(self) -> str:
        """See `Records.update`.

        Raises:
            NotListed: this receiver's index has to be read instead.
        """
        noted = self._state.read().get("listing")
        before = noted if isinstance(noted, dict) else {}
        generation, etag = self._ask_place()
        if not generation or before.get("generation") != generation:
            self._path.unlink(missing_ok=True)
            before = {}
        if before.get("filters") != self._query:
            before = {"generation": generation, "filters": self._query}
        self._known = {
            episode.key: episode for episode, _ in lines_of(self._path) if self._filters.passes(episode)
        }
        if not etag or before.get("etag") != etag:
            self._read(before)
            self._state.write(listing={**before, "etag": etag, "cursor": None})
        # A receiver that tells no generation may have changed anything.
        return f"{generation or secrets.token_hex(16)} {self._path.stat().st_size}"

    def lines(self) -> Iterator[tuple[Episode, bytes]]:
        """See `Records.lines`."""
        in_order = sorted(self._known.values(), key=lambda e: (e.received_at_ns, e.host_id, e.episode_id))
        return ((episode, episode.to_line()) for episode in in_order)

    def _read(self, before: Mapping[str, Any]) -> None:
        """Read pages, first from the cursor where an earlier run ended, then from the newest on, until all is known."""
        total = self._count()
        self._progress.begin("reading the receiver's list", total, "episodes")
        self._progress.advance(len(self._known))
        with open(self._path, "ab") as stream:
            if before.get("cursor"):
                with contextlib.suppress(NotListed):
                    self._walk(stream, before, before["cursor"], total)
            self._walk(stream, before, None, total)
            os.fsync(stream.fileno())

    def _walk(
        self, stream: BinaryIO, before: Mapping[str, Any], cursor: str | None, total: int | None
    ) -> None:
        for episodes, after in pages(self._remote, self._query, cursor):
            new = [e for e in episodes if self._known.get(e.key) != e and self._filters.passes(e)]
            self._known.update((episode.key, episode) for episode in new)
            if new:
                # Behind what was torn, this line begins with a newline of its own.
                stream.write(b"\n" + b"".join(episode.to_line() for episode in new))
                stream.flush()
            self._progress.advance(len(new))
            if total is not None and len(self._known) >= total and len(new) < len(episodes):
                return
            self._state.write(listing={**before, "etag": None, "cursor": after})

    def _ask_place(self) -> tuple[str, str]:
        """Generation and entity tag of the receiver's index; empty where it has none, or no line."""
        response = self._remote.get(INDEX, {"Range": "bytes=0-0"})
        while response.status == 206 and response.read(_STEP_BYTES):
            pass
        if response.status not in (200, 206, 416):
            raise MirrorFailed(f"there is no receiver's index at this address (status {response.status})")
        return response.headers.get("X-Index-Generation", ""), response.headers.get("ETag", "")

    def _count(self) -> int | None:
        """How many episodes pass the filters now; None where the receiver does not count them."""
        answer = _ask(self._remote, _TOTALS, self._query)
        if answer is None:
            return None
        try:
            return sum(int(group["episodes"]) for group in answer["totals"])
        except (KeyError, TypeError, ValueError) as exc:
            raise MirrorFailed(f"the receiver's answer about totals cannot be read: {exc!r}") from exc


def pages(
    remote: Remote, query: Mapping[str, str], cursor: str | None = None
) -> Iterator[tuple[list[Episode], str | None]]:
    """The pages of the listing, newest first, from `cursor` on: records, and the cursor of the page that follows.

    Raises:
        NotListed: the receiver has no such listing, or does not know `cursor`.
        MirrorFailed: its answer is none of a receiver's.
        TransportFailed: it cannot be reached.
    """
    while True:
        place = {} if cursor is None else {"cursor": cursor}
        answer = _ask(remote, EPISODES, {**query, "limit": str(_PAGE), **place})
        if answer is None:
            raise NotListed
        try:
            episodes = [Episode.from_dict(record) for record in answer["episodes"]]
            cursor = answer["next"]
            if not (cursor is None or isinstance(cursor, str)):
                raise TypeError("next is no text")
        except (KeyError, TypeError, ValueError) as exc:
            raise MirrorFailed(f"the receiver's list of episodes cannot be read: {exc!r}") from exc
        yield episodes, cursor
        if cursor is None:
            return


def _ask(remote: Remote, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
    """An answer of JSON; None where the receiver does not know what is asked for."""
    response = remote.get(f"{path}?{urlencode(query)}", {})
    text = bytearray()
    while len(text) <= _LARGEST_ANSWER and (piece := response.read(_STEP_BYTES)):
        text += piece
    if response.status in (400, 404):
        return None
    if response.status != 200:
        raise MirrorFailed(f"the receiver does not give its list (status {response.status})")
    try:
        answer = i_json.loads(bytes(text))
    except ValueError as exc:
        raise MirrorFailed(f"the receiver's list cannot be read: {exc}") from exc
    if not isinstance(answer, dict):
        raise MirrorFailed("the receiver's list cannot be read: it is no JSON object")
    return answer

"""One episode, from a receiver into a folder: continued where it was cut off, under its name only when it is whole."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.files import atomic
from cis490_receiver.http_client.backoff import Backoff
from cis490_receiver.http_client.failures import ReceiverFailed, TransportFailed
from cis490_receiver.http_client.reader import Body
from cis490_receiver.http_client.reply import TRANSIENT, retry_after_seconds
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.progress import Progress
from cis490_receiver.trainer.layout import STEP_BYTES, hash_file, path_in
from cis490_receiver.trainer.remote import WORDING, Remote

#: Where what is not whole yet lies in the mirror's folder.
PARTIAL_FOLDER: Final = "partial"
_ATTEMPTS: Final = 4
#: The longest wait between two of them.
_WAIT_SECONDS: Final = 30.0
#: Why an episode was not had whose file the receiver lost.
NOT_THERE: Final = "in the receiver's index, and not on its disk (status 404)"


class _Refused(Exception):
    """The receiver does not give an episode; asking again changes nothing."""


class Fetcher:
    """Puts episodes of `remote` into `folder`; several threads may use it at once, each for another episode."""

    def __init__(self, remote: Remote, folder: Path, progress: Progress) -> None:
        self._remote = remote
        self._folder = folder
        self._progress = progress

    def fetch(self, episode: Episode) -> str | None:
        """Fetch one episode; gives why it could not be had, or None. What the receiver does not have, or does not
        give, it is asked for once.

        Raises:
            TransportFailed: nothing can be had from this receiver, by whatever try.
        """
        backoff = Backoff(first_seconds=0.4, max_seconds=_WAIT_SECONDS)
        reason = ""
        for attempt in range(_ATTEMPTS):
            wait = None
            try:
                reason = self._fetch_once(episode)
            except _Refused as exc:
                return self._given_up(episode, str(exc))
            except TransportFailed as exc:
                if not exc.may_pass:
                    raise
                reason, wait = exc.message, exc.retry_after_seconds
            except OSError as exc:
                # Asking the receiver again changes nothing here.
                hint = (
                    f": make room in {self._folder} and run it again" if exc.errno in atomic.NO_SPACE else ""
                )
                return self._given_up(episode, f"{exc.strerror or exc}{hint}")
            if not reason:
                return None
            if attempt < _ATTEMPTS - 1:
                time.sleep(min(backoff.next_seconds(wait), _WAIT_SECONDS))
        return self._given_up(episode, reason)

    def _given_up(self, episode: Episode, reason: str) -> str:
        self._progress.skip(episode.size_bytes)
        return reason

    def _fetch_once(self, episode: Episode) -> str:
        name = hashlib.sha256(f"{episode.key} {episode.sha256}".encode("ascii")).hexdigest()
        partial = self._folder / PARTIAL_FOLDER / name
        digest, have = hash_file(partial) if partial.exists() else (hashlib.sha256(), 0)
        if have < episode.size_bytes or episode.size_bytes == 0:
            path = protocol.episode_path(episode.host_id, episode.episode_id)
            response = self._remote.go_on(path, have, episode.sha256)
            _check_given(response)
            if response.begins_at < have:
                digest, have = hashlib.sha256(), 0
            with open(partial, "r+b" if have else "wb") as stream:
                stream.seek(have)
                # One byte more than there should be is enough to know.
                while piece := response.read(min(STEP_BYTES, episode.size_bytes + 1 - stream.tell())):
                    stream.write(piece)
                    digest.update(piece)
                    self._progress.advance(len(piece))
        if partial.stat().st_size < episode.size_bytes:
            return "the connection ended early"
        if digest.hexdigest() != episode.sha256:
            partial.unlink()
            return "its bytes do not match the index"
        self._publish(partial, episode.key)
        return ""

    def _publish(self, partial: Path, key: EpisodeKey) -> None:
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        path = path_in(self._folder, key)
        atomic.make_folder(path.parent)
        os.rename(partial, path)
        atomic.sync_folder(path.parent)


def _check_given(response: Body) -> None:
    """Raises:
    _Refused: the receiver does not give the episode.
    ReceiverFailed: not now.
    """
    if response.status in (200, 206):
        return
    if response.status == 404:
        raise _Refused(NOT_THERE)
    if response.status not in TRANSIENT:
        raise _Refused(f"status {response.status}")
    raise ReceiverFailed(
        f"status {response.status}",
        WORDING.later,
        retry_after_seconds=retry_after_seconds(response.headers),
    )

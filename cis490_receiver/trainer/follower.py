"""The whole index of a receiver, followed by byte offset: ``DIR/remote.jsonl`` is what was read of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.http_client.decoding import Decoded
from cis490_receiver.http_client.reader import Body
from cis490_receiver.models import Episode
from cis490_receiver.progress import Progress
from cis490_receiver.trainer.layout import REMOTE_FILE
from cis490_receiver.trainer.records import lines_of
from cis490_receiver.trainer.remote import MirrorFailed, Remote
from cis490_receiver.trainer.state import State

INDEX: Final = "/v1/index.jsonl"
#: How many bytes before the offset are read again, to see that the index is still the one that was followed.
_OVERLAP: Final = 4096
_STEP_BYTES: Final = 1 << 20


class Follower:
    """See `records.Records`."""

    def __init__(self, remote: Remote, folder: Path, state: State, progress: Progress) -> None:
        self._remote = remote
        self._folder = folder
        self._path = folder / REMOTE_FILE
        self._state = state
        self._progress = progress

    def update(self) -> str:
        """See `Records.update`."""
        have = self._path.stat().st_size if self._path.exists() else 0
        if not have or not self._go_on(have):
            self._read_whole()
        return f"{self._state.read().get('generation')} {self._path.stat().st_size}"

    def _go_on(self, have: int) -> bool:
        """Read what follows; gives whether the index is still the one that was followed."""
        start = max(0, have - _OVERLAP)
        response = self._remote.get(INDEX, {"Range": f"bytes={start}-"})
        generation = response.headers.get("X-Index-Generation", "")
        if response.status != 206 or generation != self._state.read().get("generation"):
            return False
        with open(self._path, "rb") as stream:
            stream.seek(start)
            known = stream.read()
        if _read_fully(response, len(known)) != known:
            return False
        self._append(self._path, response)
        return True

    def _read_whole(self) -> None:
        response = self._remote.get_whole(INDEX)
        if response.status != 200:
            raise MirrorFailed(f"there is no receiver's index at this address (status {response.status})")
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        self._append(fresh, response)
        self._state.write(generation=response.headers.get("X-Index-Generation", ""), complete=None)
        os.rename(fresh, self._path)
        atomic.sync_folder(self._folder)

    def _append(self, path: Path, response: Body | Decoded) -> None:
        self._progress.begin("reading the receiver's index", response.length)
        with open(path, "ab") as stream:
            while piece := response.read(_STEP_BYTES):
                stream.write(piece)
                self._progress.advance(len(piece))
            stream.flush()
            os.fsync(stream.fileno())

    def lines(self) -> Iterator[tuple[Episode, bytes]]:
        """See `Records.lines`."""
        return lines_of(self._path)


def _read_fully(response: Body, size: int) -> bytes:
    found = bytearray()
    while piece := response.read(size - len(found)):
        found += piece
    return bytes(found)

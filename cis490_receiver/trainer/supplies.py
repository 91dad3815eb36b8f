"""Where the bytes of a dataset's episodes come from: a receiver, with or without a cache, or a folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cis490_receiver import protocol
from cis490_receiver.http_client.many import Many, Wish
from cis490_receiver.models import Episode
from cis490_receiver.trainer.cache import Cache
from cis490_receiver.trainer.download import Download
from cis490_receiver.trainer.failures import DigestMismatch, EpisodeMissing
from cis490_receiver.trainer.layout import WITHDRAWN_FOLDER, path_in
from cis490_receiver.trainer.lines import Lines
from cis490_receiver.trainer.partial import Continued, Partial
from cis490_receiver.trainer.verified import Keep, Nothing, Stream, Verified, Whole

_STEP_BYTES = 1 << 20


class Supply(Protocol):
    """Gives the bytes of episodes. Safe for threads, and for processes that are forked off."""

    def url(self, record: Episode) -> str:
        """Where the episode is."""
        ...

    def stream(self, record: Episode) -> Stream:
        """The episode, as its bytes come.

        Raises:
            EpisodeFailed: it cannot be had.
        """
        ...

    def path(self, record: Episode, data: bytes | None = None) -> tuple[Path, bool]:
        """A verified file with the episode's bytes, which may be at hand as `data`, and whether it is the caller's to
        take away.

        Raises:
            EpisodeFailed: it cannot be had.
        """
        ...


class FromReceiver:
    """Episodes of a receiver, kept in `cache` where there is one."""

    def __init__(self, lines: Lines, cache: Cache | None) -> None:
        self._lines = lines
        self._cache = cache

    def url(self, record: Episode) -> str:
        """See `Supply.url`."""
        return self._lines.url + protocol.episode_path(record.host_id, record.episode_id)

    def stream(self, record: Episode) -> Stream:
        """See `Supply.stream`."""
        found = self._cache.take(record) if self._cache else None
        if isinstance(found, Partial):
            return Verified(Continued(found, lambda begin: self._download(record, begin)), record, found)
        if found is not None:
            return Whole(found)
        return Verified(self._download(record, 0), record, Nothing())

    def path(self, record: Episode, data: bytes | None = None) -> tuple[Path, bool]:
        """See `Supply.path`."""
        if self._cache is not None:
            found = self._cache.find_path(record)
            if found is None and data is None:
                self._fetch(record)
                found = self._cache.find_path(record)
            if found is not None:
                return found, False
        return _temporary(self.stream(record) if data is None else in_memory(data)), True

    def new_many(self, connections: int) -> Many:
        """See `Lines.new_many`."""
        return self._lines.new_many(connections)

    def wish(self, record: Episode, arrived: Callable[[bytes | None], None]) -> Wish | None:
        """What is to be asked of `new_many` to have the episode, verified and kept, in `arrived`, which is told None
        where it did not come; None where that is for `stream` to do."""
        keep: Keep | None = self._cache.claim(record) if self._cache else Nothing()
        if keep is None:
            return None

        def done(data: bytes | None) -> None:
            with contextlib.closing(keep):
                if data is None or hashlib.sha256(data).hexdigest() != record.sha256:
                    data = None
                else:
                    keep.write(data)
                    keep.publish()
            arrived(data)

        return Wish(protocol.episode_path(record.host_id, record.episode_id), record.size_bytes, done)

    def _fetch(self, record: Episode) -> None:
        """Let it be in the cache, if it can."""
        try:
            self._pass(record)
        except DigestMismatch:
            # What was there of it may have been spoilt by a crash, and is gone now.
            self._pass(record)

    def _pass(self, record: Episode) -> None:
        with contextlib.closing(self.stream(record)) as stream:
            stream.finish()

    def _download(self, record: Episode, begin: int) -> Download:
        return Download(self._lines, record, begin)


class FromFolder:
    """Episodes of a mirror's folder, or of a receiver's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: What was verified: digest, inode, time of the last change.
        self._known: set[tuple[str, int, int]] = set()

    def url(self, record: Episode) -> str:
        """See `Supply.url`."""
        return path_in(self._folder.absolute(), record.key).as_uri()

    def stream(self, record: Episode) -> Stream:
        """See `Supply.stream`."""
        stream = open(self._find(record), "rb", buffering=0)  # noqa: SIM115 - given to the caller
        if self._mark(record, os.fstat(stream.fileno())) in self._known:
            return Whole(stream)
        return Verified(stream, record, Nothing())

    def path(self, record: Episode, data: bytes | None = None) -> tuple[Path, bool]:
        """See `Supply.path`."""
        path = self._find(record)
        mark = self._mark(record, path.stat())
        if mark not in self._known:
            with open(path, "rb", buffering=0) as stream:
                Verified(stream, record, Nothing()).finish()
            self._known.add(mark)
        return path, False

    def _find(self, record: Episode) -> Path:
        # One that is withdrawn while it is read is moved.
        places = path_in(self._folder, record.key), self._folder / WITHDRAWN_FOLDER / record.host_id
        for path in (places[0], places[1] / record.key.file_name, places[0]):
            if path.exists():
                return path
        raise EpisodeMissing(
            f"{record.key} is in the index of {self._folder}, and its file is not there; run "
            "`cis490-receiver mirror` again"
        )

    def _mark(self, record: Episode, status: os.stat_result) -> tuple[str, int, int]:
        return record.sha256, status.st_ino, status.st_mtime_ns


def in_memory(data: bytes) -> Stream:
    """A stream of bytes that were verified."""
    return Whole(io.BytesIO(data))


def _temporary(stream: Stream) -> Path:
    fd, name = tempfile.mkstemp(prefix="cis490-", suffix=protocol.EPISODE_SUFFIX)
    path = Path(name)
    try:
        with open(fd, "wb") as target:
            while piece := stream.read(_STEP_BYTES):
                target.write(piece)
    except BaseException:
        path.unlink()
        raise
    finally:
        stream.close()
    return path

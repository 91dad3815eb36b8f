"""Episodes that were fetched before: a folder of bounded size that several processes use at once.

``<folder>/<2 hex digits>/<sha256>.tar.zst`` is an episode, under that name only when it was whole and right.
``<folder>/partial/<sha256>.<size>`` is one that is being fetched, locked (flock(2)) by who does it, so that no two
fetch the same; what was left half-way is continued. ``<folder>/used`` holds how many bytes both may take. Nothing is
synced: every process looks at a file's digest before it uses it, and what a crash spoilt is fetched anew.

A file that somebody has open stays readable when it is evicted (unlink(2)).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, Final

from cis490_receiver.models import Episode
from cis490_receiver.protocol import EPISODE_SUFFIX
from cis490_receiver.trainer.layout import hash_file
from cis490_receiver.trainer.partial import Partial
from cis490_receiver.trainer.room import PARTIAL_FOLDER, Room

DEFAULT_BYTES: Final = 10_000_000_000
#: Who fetches an episode that others wait for gets on with it within this time, or they do without the cache.
STALL_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02
#: How many of the files whose paths were given out last are safe from eviction.
_PINS: Final = 64


def default_folder() -> Path:
    """Where it is unless somebody says otherwise (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "cis490-receiver"


class Cache:
    """Episodes in `folder`, of `limit_bytes` together at most. Safe for threads and processes."""

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_BYTES) -> None:
        """Raises:
        OSError: the folder cannot be made.
        """
        self._folder = folder
        self._limit = limit_bytes
        self._room = Room(folder, limit_bytes)
        #: Files that were seen to have their digest, by it and inode.
        self._known: set[tuple[str, int]] = set()
        self._threads: dict[str, int] = {}
        self._pins: OrderedDict[str, BinaryIO] = OrderedDict()
        weakref.finalize(self, _close_all, self._pins)
        (folder / PARTIAL_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)

    def find(self, record: Episode) -> BinaryIO | None:
        """The episode's file, open and verified, if it is here."""
        path = self._path(record)
        try:
            stream = open(path, "rb", buffering=0)  # noqa: SIM115 - given to the caller
        except OSError:
            return None
        with contextlib.ExitStack() as stack:
            stack.callback(stream.close)
            if not self._is_right(os.fstat(stream.fileno()), path, record):
                with contextlib.suppress(OSError):
                    os.unlink(path)
                return None
            with contextlib.suppress(OSError):
                # Used last: now.
                os.utime(stream.fileno())
            stack.pop_all()
        return stream

    def find_path(self, record: Episode) -> Path | None:
        """Where the verified file of the episode is, if it is here. It stays while it is among the last 64 that this
        process asked for like this, whatever is evicted."""
        while (stream := self.find(record)) is not None:
            fcntl.flock(stream, fcntl.LOCK_SH)
            path = self._path(record)
            if _is_at(stream.fileno(), path):
                self._pin(record.sha256, stream)
                return Path(path)
            stream.close()
        return None

    def take(self, record: Episode) -> BinaryIO | Partial | None:
        """The episode's file, or what is to be filled with it. Who fetches it already is waited for.

        Returns:
            None where it cannot be kept: the disk or the cache has no room for it, or who fetches it does not get on.
        """
        size, since = -1, time.monotonic()
        while True:
            if (found := self.find(record)) is not None:
                return found
            try:
                return self._begin(record)
            except BlockingIOError:
                pass
            except OSError:
                return None
            if self._threads.get(record.sha256) == threading.get_ident():
                # Nobody waits for himself.
                return None
            before, size = size, _size(self._partial_path(record))
            if size != before:
                since = time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                return None
            time.sleep(_LOOK_SECONDS)

    def claim(self, record: Episode) -> Partial | None:
        """What is to be filled with the whole episode; None where it is here, where some of it is, where somebody else
        fetches it, or where it cannot be kept."""
        if os.path.exists(self._path(record)):
            return None
        try:
            partial = self._begin(record)
        except OSError:
            return None
        if partial is not None and partial.have:
            partial.close()
            return None
        return partial

    def _begin(self, record: Episode) -> Partial | None:
        """Begin, or go on, to fill a file.

        Raises:
            BlockingIOError: somebody else does, or just has.
            OSError: that cannot be.
        """
        path, target = self._partial_path(record), self._path(record)
        # Whoever holds this lock can be sure that nobody evicts the file in between.
        with self._room.entered() as held:
            is_new = not os.path.exists(path)
            if is_new and not self._room.reserve(held, record.size_bytes):
                return None
            flags = os.O_CREAT | os.O_EXCL if is_new else 0
            try:
                fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
            except FileNotFoundError:
                raise BlockingIOError from None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_at(fd, path):
                    raise BlockingIOError
            except BaseException:
                os.close(fd)
                raise
        self._threads[record.sha256] = threading.get_ident()
        partial = Partial(path, fd, target, record, self)
        if os.path.exists(target):
            partial.discard()
            raise BlockingIOError
        return partial

    def published(self, record: Episode, inode: int) -> None:
        """See `partial.Owner`."""
        self._known.add((record.sha256, inode))

    def discarded(self, record: Episode) -> None:
        """See `partial.Owner`."""
        self._room.give_back(record.size_bytes)

    def let_go(self, record: Episode) -> None:
        """See `partial.Owner`."""
        self._threads.pop(record.sha256, None)

    def _is_right(self, status: os.stat_result, path: str, record: Episode) -> bool:
        if status.st_size != record.size_bytes:
            return False
        mark = record.sha256, status.st_ino
        if mark not in self._known:
            if hash_file(Path(path))[0].hexdigest() != record.sha256:
                return False
            self._known.add(mark)
        return True

    def _pin(self, sha256: str, stream: BinaryIO) -> None:
        if (old := self._pins.pop(sha256, None)) is not None:
            old.close()
        self._pins[sha256] = stream
        while len(self._pins) > _PINS:
            with contextlib.suppress(KeyError):
                self._pins.popitem(last=False)[1].close()

    def _path(self, record: Episode) -> str:
        return f"{self._folder}/{record.sha256[:2]}/{record.sha256}{EPISODE_SUFFIX}"

    def _partial_path(self, record: Episode) -> str:
        return f"{self._folder}/{PARTIAL_FOLDER}/{record.sha256}.{record.size_bytes}"

    def __reduce__(self) -> tuple[type[Cache], tuple[Path, int]]:
        return Cache, (self._folder, self._limit)


def _close_all(pins: dict[str, BinaryIO]) -> None:
    for stream in pins.values():
        stream.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False

"""How many bytes a cache's folder may hold: counted by all processes together, made room in when they are used up."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARTIAL_FOLDER: Final = "partial"
COUNT_FILE: Final = "used"
_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class _Item:
    used_ns: int
    size_bytes: int
    path: Path


class Room:
    """`limit_bytes` for the files in `folder`. The count never falls short of what is there: room is counted before it
    is filled, so that a crash leaves the count too high, until the folder is looked through the next time."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._count_file = str(folder / COUNT_FILE)

    @contextlib.contextmanager
    def entered(self) -> Iterator[int]:
        """Hold the lock without which nothing is counted or evicted; gives what the other methods want of whoever does.

        Raises:
            OSError: the folder cannot be written to.
        """
        held = os.open(self._count_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield held
        finally:
            os.close(held)

    def reserve(self, held: int, size_bytes: int) -> bool:
        """Count `size_bytes` more, after the files that were used least recently made room where needed.

        Returns:
            False: that is more than there can be, beside what is in use.
        """
        if size_bytes > self._limit:
            return False
        count = _read(held)
        if count is None:
            count = sum(item.size_bytes for item in self._items())
        if count + size_bytes > self._limit:
            # Some more than is needed, so that not every episode has the folder looked through.
            count = self._evict(min(self._limit - size_bytes, self._limit * 9 // 10))
        fits = count + size_bytes <= self._limit
        _write(held, count + size_bytes if fits else count)
        return fits

    def give_back(self, size_bytes: int) -> None:
        """Count `size_bytes` less.

        Raises:
            OSError: as `entered`.
        """
        with self.entered() as held:
            count = _read(held)
            if count is not None:
                _write(held, max(0, count - size_bytes))

    def _evict(self, goal: int) -> int:
        """Take files away until they have `goal` bytes; gives how many they have."""
        items = sorted(self._items(), key=lambda item: item.used_ns)
        count = sum(item.size_bytes for item in items)
        for item in items:
            if count <= goal:
                break
            if _take_away(item.path):
                count -= item.size_bytes
        return count

    def _items(self) -> Iterator[_Item]:
        for place in self._folder.iterdir():
            if not place.is_dir():
                continue
            for entry in os.scandir(place):
                with contextlib.suppress(OSError, ValueError):
                    status = entry.stat(follow_symlinks=False)
                    size = status.st_size
                    if place.name == PARTIAL_FOLDER:
                        # What it is going to have.
                        size = int(entry.name.rpartition(".")[2])
                    yield _Item(status.st_mtime_ns, size, Path(entry.path))


def _take_away(path: Path) -> bool:
    """Unlink a file unless somebody holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _read(held: int) -> int | None:
    text = os.pread(held, _DIGITS + 1, 0)
    return int(text) if len(text) == _DIGITS and text.isdigit() else None


def _write(held: int, count: int) -> None:
    # Of one length: a file that is cut and written anew is flushed to the disk by ext4(5), auto_da_alloc.
    os.pwrite(held, b"%0*d" % (_DIGITS, count), 0)

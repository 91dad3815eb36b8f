"""The folders of hosts under ``episodes/``: opened by descriptor, and relied on only when their own entry is
on stable storage."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cis490_receiver import atomic

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class HostFolders:
    """Threads and processes may share the folder `episodes`."""

    def __init__(self, episodes: Path) -> None:
        self._episodes = episodes
        #: Folders (by name and inode) whose entry this process has synced.
        self._synced: set[tuple[str, int]] = set()

    @contextlib.contextmanager
    def existing(self, host_id: str) -> Iterator[int]:
        """A descriptor of the host's folder.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
        """
        fd = os.open(self._episodes / host_id, _FLAGS)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def for_writing(self, host_id: str) -> Iterator[int]:
        """The same, made when absent. After a crash the folder is there."""
        fd = self._open_synced(host_id)
        if fd is None:
            fd = self._make(host_id)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_synced(self, host_id: str) -> int | None:
        """None when there is no folder, or one that another process may have made and not synced."""
        try:
            fd = os.open(self._episodes / host_id, _FLAGS)
        except FileNotFoundError:
            return None
        if self._identity(host_id, fd) in self._synced:
            return fd
        os.close(fd)
        return None

    def _make(self, host_id: str) -> int:
        """One at a time: who fails to sync the entry takes the folder away again, since a second sync would
        succeed and mean nothing, and nobody may have put anything into it meanwhile."""
        path = self._episodes / host_id
        parent = os.open(self._episodes, _FLAGS)
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=atomic.FOLDER_MODE)
            try:
                os.fsync(parent)
            except OSError:
                with contextlib.suppress(OSError):
                    path.rmdir()
                raise
            fd = os.open(path, _FLAGS)
            self._synced.add(self._identity(host_id, fd))
            return fd
        finally:
            os.close(parent)

    @staticmethod
    def _identity(host_id: str, fd: int) -> tuple[str, int]:
        try:
            return host_id, os.fstat(fd).st_ino
        except OSError:
            os.close(fd)
            raise

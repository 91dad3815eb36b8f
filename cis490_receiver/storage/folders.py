"""The folders of hosts under ``episodes/``: opened by descriptor, and relied on only when their own entry is
on stable storage."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.models import EpisodeKey

#: How many folders stay open.
OPEN_FOLDERS: Final = 256
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Folder:
    """An open folder; closed when nobody refers to it any more."""

    __slots__ = ("fd", "identity")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        status = os.fstat(fd)
        self.identity = (status.st_dev, status.st_ino)

    def __del__(self) -> None:
        os.close(self.fd)


class HostFolders:
    """Threads and processes may share the folder `episodes`. A folder that was written to stays open, so that no
    other one can take its inode; whether the name still means it is looked at each time."""

    def __init__(self, episodes: Path) -> None:
        self._prefix = f"{episodes}{os.sep}"
        self._episodes = episodes
        #: Folders whose entry this process has synced, by host.
        self._synced: dict[str, _Folder] = {}

    def path_of(self, key: EpisodeKey) -> str:
        """The path of the episode `key`."""
        return f"{self._prefix}{key.host_id}{os.sep}{key.file_name}"

    @contextlib.contextmanager
    def existing(self, host_id: str) -> Iterator[int]:
        """A descriptor of the host's folder.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
        """
        fd = os.open(self._prefix + host_id, _FLAGS)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def for_writing(self, host_id: str) -> Iterator[int]:
        """The same, made when absent. After a crash the folder is there.

        The descriptor is the caller's alone: the kernel tells of a failed write-back once for each open file
        description (fsync(2)), and of two writers who shared one the second would not hear of it.
        """
        fd = self._open_synced(host_id)
        if fd is None:
            fd = self._make(host_id)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_synced(self, host_id: str) -> int | None:
        """None when there is no folder, or one that another process may have made and not synced."""
        known = self._synced.get(host_id)
        if known is None:
            return None
        try:
            fd = os.open(self._prefix + host_id, _FLAGS)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(fd)
        except OSError:
            os.close(fd)
            raise
        if (status.st_dev, status.st_ino) == known.identity:
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
            folder = _Folder(os.open(path, _FLAGS))
            fd = os.open(path, _FLAGS)
        finally:
            os.close(parent)
        if len(self._synced) >= OPEN_FOLDERS:
            self._synced.clear()
        self._synced[host_id] = folder
        return fd

"""Episodes as files of the local disk: ``episodes/<host_id>/<episode_id>.tar.zst``.

An upload is a file in ``incoming/`` that its writer holds an flock(2) on. To publish it is to link(2) it to
its final name, which fails when the name is taken. So a file in ``incoming/`` tells by itself what became
of its writer:

=========  ==========  ==========================================================================
lock held  links       meaning
=========  ==========  ==========================================================================
yes        any         a live upload
no         1           a dead one that was never published: belongs to nobody
no         2           published, perhaps not indexed: to be completed
no         marker      the same, on a file system without hard links (`linking`)
no         1           with a log: one in pieces, that waits for the next (`partials`)
=========  ==========  ==========================================================================

The lock is on the inode, thus on the final name too: who opens a published file and gets the lock knows
that its writer is done or dead. No symbolic link below the data folder is ever followed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cis490_receiver import protocol
from cis490_receiver.errors import EpisodeBusy
from cis490_receiver.files import atomic
from cis490_receiver.logfmt import event
from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import linking, partial_log, traces
from cis490_receiver.storage.base import Held, OpenEpisode
from cis490_receiver.storage.files import HeldFile, IncomingFile, storage_errors, try_lock
from cis490_receiver.storage.folders import HostFolders
from cis490_receiver.storage.publishing import Publisher
from cis490_receiver.storage.writing import Buffers

log = logging.getLogger(__name__)

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_POLL_SECONDS: Final = 0.005
_QUARANTINE_SECONDS: Final = 30.0


class FilesystemStore:
    """See `storage.base.EpisodeStore`. Holds no file open between calls: a fork is harmless."""

    def __init__(self, data_dir: Path) -> None:
        self._episodes = data_dir / "episodes"
        self._incoming = data_dir / "incoming"
        self._quarantine = data_dir / "quarantine"
        self._hosts = HostFolders(self._episodes)
        self._publisher = Publisher(self._incoming, self._hosts)
        self._buffers = Buffers()

    def prepare(self) -> None:
        """Create the folders, durably.

        Raises:
            OSError: they cannot be made, or not be used: an upload is linked from one into the other.
        """
        for folder in (self._episodes, self._incoming):
            if folder.is_symlink():
                raise OSError(
                    errno.ELOOP, f"{folder.name} is a symbolic link; mount or move the whole data folder"
                )
            atomic.make_folder(folder)
        if self._episodes.stat().st_dev != self._incoming.stat().st_dev:
            raise OSError(
                errno.EXDEV,
                "incoming and episodes are on different file systems; mount the whole data folder",
            )

    def free_bytes(self) -> int:
        """See `EpisodeStore.free_bytes`."""
        with storage_errors("statvfs"):
            status = os.statvfs(self._incoming)
            return status.f_bavail * status.f_frsize

    def check_writable(self) -> None:
        """See `EpisodeStore.check_writable`."""
        with storage_errors("access"):
            for folder in (self._incoming, self._episodes):
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    @contextlib.contextmanager
    def receive(self, key: EpisodeKey, stamps: Stamps) -> Iterator[IncomingFile]:
        """See `EpisodeStore.receive`."""
        with storage_errors("create"):
            incoming = IncomingFile(self._publisher, key, stamps, self._buffers)
        try:
            yield incoming
        finally:
            incoming.close()

    def exists(self, key: EpisodeKey) -> bool:
        """See `EpisodeStore.exists`."""
        with storage_errors("stat"):
            try:
                os.lstat(self._hosts.path_of(key))
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def open(self, key: EpisodeKey) -> OpenEpisode | None:
        """See `EpisodeStore.open`."""
        stream = self._open(key)
        if stream is None:
            return None
        try:
            with storage_errors("stat"):
                status = os.fstat(stream.fileno())
        except BaseException:
            stream.close()
            raise
        return OpenEpisode(stream, status.st_size, status.st_mtime_ns)

    def _open(self, key: EpisodeKey) -> BinaryIO | None:
        with storage_errors("open"):
            try:
                with self._hosts.existing(key.host_id) as folder:
                    return os.fdopen(os.open(key.file_name, _READ_FLAGS, dir_fd=folder), "rb")
            except (FileNotFoundError, NotADirectoryError):
                return None

    @contextlib.contextmanager
    def hold(self, key: EpisodeKey, *, wait_seconds: float) -> Iterator[HeldFile | None]:
        """See `EpisodeStore.hold`."""
        deadline = time.monotonic() + wait_seconds
        while (stream := self._open(key)) is not None:
            with stream:
                with storage_errors("lock"):
                    while not try_lock(stream.fileno()):
                        if time.monotonic() > deadline:
                            raise EpisodeBusy
                        time.sleep(_POLL_SECONDS)
                    # A writer that found the name unsettled may have named the bytes anew meanwhile.
                    named = self._bears_name(stream.fileno(), key)
                if named:
                    yield HeldFile(self._publisher, key, stream)
                    return
        yield None

    def unsettled(self) -> Iterator[EpisodeKey]:
        """See `EpisodeStore.unsettled`."""
        for name in os.listdir(self._incoming):
            try:
                key = self._examine(name)
            except OSError as exc:
                # What is wrong with one file keeps nobody from the others.
                log.warning(event("unknown-file", folder="incoming", file=name, reason=exc.strerror))
                continue
            if key is not None:
                yield key

    def all_keys(self) -> Iterator[EpisodeKey]:
        """See `EpisodeStore.all_keys`."""
        with os.scandir(self._episodes) as hosts:
            for host in hosts:
                if protocol.is_valid_id(host.name) and host.is_dir(follow_symlinks=False):
                    yield from self._keys_of(host.name)

    def quarantine(self, key: EpisodeKey, is_rotten: Callable[[Held], bool]) -> bool:
        """See `EpisodeStore.quarantine`: a rename to ``quarantine/``."""
        with self.hold(key, wait_seconds=_QUARANTINE_SECONDS) as held, storage_errors("quarantine"):
            if held is None or not is_rotten(held):
                return False
            folder = self._quarantine / key.host_id
            atomic.make_folder(folder)
            target = folder / f"{key.episode_id}.{time.time_ns()}{protocol.EPISODE_SUFFIX}"
            os.rename(self._episodes / key.host_id / key.file_name, target)
            # The new name first: a crash in between shows the file under both names, not under none.
            atomic.sync_folder(folder)
            atomic.sync_folder(self._episodes / key.host_id)
            log.warning(event("quarantined", host=key.host_id, id=key.episode_id, file=target.name))
            return True

    def _keys_of(self, host_id: str) -> Iterator[EpisodeKey]:
        with os.scandir(self._episodes / host_id) as entries:
            for entry in entries:
                episode_id = entry.name.removesuffix(protocol.EPISODE_SUFFIX)
                named = episode_id != entry.name and protocol.is_valid_id(episode_id)
                if named and entry.is_file(follow_symlinks=False):
                    yield EpisodeKey(host_id, episode_id)

    def _examine(self, name: str) -> EpisodeKey | None:
        """Look at one file of ``incoming/``: the key it was published under, if it was."""
        path = self._incoming / name
        try:
            fd = os.open(path, _READ_FLAGS | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                log.warning(event("unknown-file", folder="incoming", file=name, reason=exc.strerror))
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or not try_lock(fd):
                return None
            # Read again under the lock: its writer may just have finished.
            status = os.fstat(fd)
            if name.endswith(linking.MARKER_SUFFIX):
                return self._examine_marker(path, os.read(fd, traces.NAME_MAX))
            if status.st_nlink > 1:
                return self._key_of(name, status.st_ino)
            if partial_log.id_of(name) is not None:
                self._examine_log(path, status.st_size)
                return None
            if self._waits_for_more(name):
                linking.remove_marker(path)
                return None
            linking.remove_marker(path)
            self._discard(path, status.st_size)
            return None
        finally:
            os.close(fd)

    def _examine_marker(self, marker: Path, content: bytes) -> EpisodeKey | None:
        """The key that a marker tells of. One whose upload is still there belongs to a live writer, or goes with
        the dead one's; one that tells of no episode is discarded."""
        source = marker.with_name(marker.name.removesuffix(linking.MARKER_SUFFIX))
        if source.exists():
            self._examine(source.name)
            return None
        key = traces.key_of_marker(marker.name, content)
        if key is not None and self.exists(key):
            return key
        self._discard(marker, len(content))
        return None

    def _examine_log(self, path: Path, size_bytes: int) -> None:
        """Complete what the end of an upload in pieces left undone."""
        state = partial_log.read(path)
        if state is None:
            self._discard(path, size_bytes)
        elif state.verdict is not None:
            os.rename(path, self._incoming.parent / partial_log.RECEIPTS / path.name)

    def _waits_for_more(self, name: str) -> bool:
        """Whether ``incoming/<name>`` holds bytes of an upload in pieces that has not ended."""
        trace = traces.parse(name)
        state = partial_log.read(self._incoming / partial_log.name_of(trace.digits)) if trace else None
        return state is not None and state.verdict is None

    def _discard(self, path: Path, size_bytes: int) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            return
        log.info(event("discarded-upload", file=path.name, size=size_bytes))

    def _key_of(self, name: str, inode: int) -> EpisodeKey | None:
        trace = traces.parse(name)
        if trace is not None and trace.episode_id is not None:
            return EpisodeKey(trace.host_id, trace.episode_id)
        if trace is not None:
            # The two ids together were longer than a file name may be.
            for key in self._keys_of(trace.host_id):
                with contextlib.suppress(FileNotFoundError):
                    if (self._episodes / key.host_id / key.file_name).lstat().st_ino == inode:
                        return key
        log.warning(event("unknown-file", folder="incoming", file=name))
        return None

    def _bears_name(self, fd: int, key: EpisodeKey) -> bool:
        try:
            with self._hosts.existing(key.host_id) as folder:
                named = os.stat(key.file_name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(fd))

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
=========  ==========  ==========================================================================

The lock is on the inode, thus on the final name too: who opens a published file and gets the lock knows
that its writer is done or dead. No symbolic link below the data folder is ever followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from cis490_receiver import atomic, protocol
from cis490_receiver.errors import EpisodeBusy, StorageFailed, StorageFull
from cis490_receiver.logfmt import event
from cis490_receiver.models import EpisodeKey
from cis490_receiver.storage import linking, traces
from cis490_receiver.storage.folders import HostFolders

log = logging.getLogger(__name__)

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HASH_STEP: Final = 1 << 20
_POLL_SECONDS: Final = 0.005


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a named error, its cause chained for the log."""
    try:
        yield
    except OSError as exc:
        kind = StorageFull if exc.errno in _NO_SPACE else StorageFailed
        log.error(
            event(kind.code, doing=doing, errno=errno.errorcode.get(exc.errno or 0), reason=exc.strerror)
        )
        raise kind from exc


class FilesystemStore:
    """See `storage.base.EpisodeStore`. Holds no file open between calls: a fork is harmless."""

    def __init__(self, data_dir: Path) -> None:
        self._episodes = data_dir / "episodes"
        self._incoming = data_dir / "incoming"
        self._hosts = HostFolders(self._episodes)

    def prepare(self) -> None:
        """Create the folders, durably."""
        atomic.make_folder(self._episodes)
        atomic.make_folder(self._incoming)

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
    def receive(self, key: EpisodeKey) -> Iterator[IncomingFile]:
        """See `EpisodeStore.receive`."""
        with storage_errors("create"):
            incoming = IncomingFile(self, key)
        try:
            yield incoming
        finally:
            incoming.close()

    def exists(self, key: EpisodeKey) -> bool:
        """See `EpisodeStore.exists`."""
        with storage_errors("stat"):
            try:
                with self._hosts.existing(key.host_id) as folder:
                    os.stat(key.file_name, dir_fd=folder, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def open(self, key: EpisodeKey) -> BinaryIO | None:
        """See `EpisodeStore.open`."""
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
        while (stream := self.open(key)) is not None:
            with stream:
                with storage_errors("lock"):
                    while not _try_lock(stream.fileno()):
                        if time.monotonic() > deadline:
                            raise EpisodeBusy
                        time.sleep(_POLL_SECONDS)
                    # A writer that found the name unsettled may have named the bytes anew meanwhile.
                    named = self._bears_name(stream.fileno(), key)
                if named:
                    yield HeldFile(self, key, stream)
                    return
        yield None

    def unsettled(self) -> Iterator[EpisodeKey]:
        """See `EpisodeStore.unsettled`."""
        for name in os.listdir(self._incoming):
            key = self._examine(name)
            if key is not None:
                yield key

    def keys(self) -> Iterator[EpisodeKey]:
        """See `EpisodeStore.keys`."""
        with os.scandir(self._episodes) as hosts:
            for host in hosts:
                if protocol.is_valid_id(host.name) and host.is_dir(follow_symlinks=False):
                    yield from self._keys_of(host.name)

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
            if not stat.S_ISREG(status.st_mode) or not _try_lock(fd):
                return None
            # Read again under the lock: its writer may just have finished.
            status = os.fstat(fd)
            if name.endswith(linking.MARKER_SUFFIX):
                return self._examine_marker(path, os.read(fd, traces.NAME_MAX))
            if status.st_nlink > 1:
                return self._key_of(name, status.st_ino)
            self._discard(path, status.st_size)
            return None
        finally:
            os.close(fd)

    def _examine_marker(self, marker: Path, content: bytes) -> EpisodeKey | None:
        """The key that a marker tells of. One whose upload is still there belongs to a live writer, or is
        discarded with the dead one's; one that tells of no episode is discarded."""
        source = marker.with_name(marker.name.removesuffix(linking.MARKER_SUFFIX))
        if source.exists():
            self._examine(source.name)
            if source.exists():
                return None
        key = traces.key_of_marker(marker.name, content)
        if key is not None and self.exists(key):
            return key
        self._discard(marker, len(content))
        return None

    def _discard(self, path: Path, size_bytes: int) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            return
        log.info(event("discarded-upload", file=path.name, size=size_bytes))

    def _key_of(self, name: str, inode: int) -> EpisodeKey | None:
        host_id, _, rest = name.partition("~")
        episode_id = rest.partition("~")[0]
        with contextlib.suppress(ValueError):
            if episode_id:
                return EpisodeKey(host_id, episode_id)
            # The two ids together were longer than a file name may be.
            for key in self._keys_of(host_id):
                if (self._episodes / host_id / key.file_name).lstat().st_ino == inode:
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

    def _name(self, source: str, key: EpisodeKey) -> bool:
        """Name ``incoming/<source>`` and sync the folder; False when the name is taken."""
        with self._hosts.for_writing(key.host_id) as folder:
            try:
                linking.link_no_clobber(self._incoming / source, key.file_name, folder)
            except FileExistsError:
                return False
            os.fsync(folder)
            return True

    def _name_anew(self, trace: str, key: EpisodeKey) -> bool:
        source = trace.removesuffix(linking.MARKER_SUFFIX)
        with self._hosts.existing(key.host_id) as folder:
            if source == trace:
                os.unlink(key.file_name, dir_fd=folder)
            else:
                os.rename(key.file_name, self._incoming / source, src_dir_fd=folder)
        return self._name(source, key)


class IncomingFile:
    """See `storage.base.Incoming`. One thread at a time."""

    def __init__(self, store: FilesystemStore, key: EpisodeKey) -> None:
        self._store = store
        self._key = key
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self._name, self._fd = self._create()

    def _create(self) -> tuple[str, int]:
        while True:
            name = traces.new_name(self._key)
            path = self._store._incoming / name
            fd = os.open(path, _CREATE_FLAGS, atomic.FILE_MODE)
            try:
                # Between the two calls a starting receiver may take the file for a dead one.
                if _try_lock(fd) and os.fstat(fd).st_nlink == 1:
                    return name, fd
            except BaseException:
                with contextlib.suppress(OSError):
                    path.unlink()
                os.close(fd)
                raise
            os.close(fd)

    def write(self, data: memoryview) -> None:
        """See `Incoming.write`."""
        self._hash.update(data)
        with storage_errors("write"):
            atomic.write_all(self._fd, data)
        self.size_bytes += len(data)

    def hexdigest(self) -> str:
        """See `Incoming.hexdigest`."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """See `Incoming.sync`."""
        with storage_errors("fsync"):
            os.fsync(self._fd)

    def publish(self) -> bool:
        """See `Incoming.publish`."""
        with storage_errors("publish"):
            return self._store._name(self._name, self._key)

    def settle(self) -> None:
        """See `Incoming.settle`."""
        with storage_errors("settle"):
            traces.drop(self._store._incoming, self._key, os.fstat(self._fd).st_ino)

    def close(self) -> None:
        """Discard what was not published, then let the lock go. What was published and not settled keeps
        its name in ``incoming/``, whatever went wrong after that: the next writer completes it. What could
        not be discarded is left to the next start: it makes no answer worse."""
        try:
            if os.fstat(self._fd).st_nlink < 2:
                (self._store._incoming / self._name).unlink(missing_ok=True)
        except OSError as exc:
            log.warning(event("upload-left", file=self._name, reason=exc.strerror))
        finally:
            os.close(self._fd)


class HeldFile:
    """See `storage.base.Held`."""

    def __init__(self, store: FilesystemStore, key: EpisodeKey, stream: BinaryIO) -> None:
        self._store = store
        self._key = key
        self._stream = stream

    @property
    def size_bytes(self) -> int:
        """See `Held.size_bytes`."""
        return os.fstat(self._stream.fileno()).st_size

    def hexdigest(self) -> str:
        """See `Held.hexdigest`."""
        with storage_errors("read"):
            self._stream.seek(0)
            digest = hashlib.sha256()
            while piece := self._stream.read(_HASH_STEP):
                digest.update(piece)
            return digest.hexdigest()

    def open(self) -> BinaryIO:
        """See `Held.open`."""
        self._stream.seek(0)
        return self._stream

    def make_durable(self) -> None:
        """See `Held.make_durable`."""
        with storage_errors("fsync"):
            os.fsync(self._stream.fileno())
            with self._store._hosts.for_writing(self._key.host_id) as folder:
                os.fsync(folder)

    def republish(self) -> None:
        """See `Held.republish`."""
        inode = os.fstat(self._stream.fileno()).st_ino
        with storage_errors("republish"):
            found = traces.traces_of(self._store._incoming, self._key, inode)
            if found and not self._store._name_anew(found[0], self._key):
                raise EpisodeBusy
        self.make_durable()

    def settle(self) -> None:
        """See `Held.settle`."""
        with storage_errors("settle"):
            traces.drop(self._store._incoming, self._key, os.fstat(self._stream.fileno()).st_ino)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""A file on its way in, and a stored one that is held."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
from typing import BinaryIO, Final

from cis490_receiver.errors import EpisodeBusy, StorageFailed, StorageFull
from cis490_receiver.files import atomic
from cis490_receiver.logfmt import event
from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import traces
from cis490_receiver.storage.publishing import Publisher
from cis490_receiver.storage.writing import Buffers, HashingWriter

log = logging.getLogger(__name__)

_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Read and hashed at a time, while the kernel reads as much again.
_HASH_STEP: Final = 4 << 20


class storage_errors:  # noqa: N801 - reads as the statement it is used in
    """Turns an OSError of the block into a named error, its cause chained for the log."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if not isinstance(exc, OSError):
            return
        named = StorageFull if exc.errno in atomic.NO_SPACE else StorageFailed
        number = errno.errorcode.get(exc.errno or 0)
        log.error(event(named.code, doing=self._doing, errno=number, reason=exc.strerror))
        raise named from exc


def try_lock(fd: int) -> bool:
    """Take the exclusive flock(2) of an open file; False when somebody else has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sha256_of(stream: BinaryIO) -> str:
    """SHA-256 of an open file from its beginning, as 64 hex digits. The disk reads ahead of the hash: it takes as
    long as the slower of both.

    Raises:
        OSError: it cannot be read.
    """
    digest, fd, offset = hashlib.sha256(), stream.fileno(), 0
    buffer = memoryview(bytearray(_HASH_STEP))
    while True:
        os.posix_fadvise(fd, offset + _HASH_STEP, _HASH_STEP, os.POSIX_FADV_WILLNEED)
        count = os.preadv(fd, [buffer], offset)
        if count == 0:
            return digest.hexdigest()
        digest.update(buffer[:count])
        offset += count


class IncomingFile:
    """See `storage.base.Incoming`. One thread at a time."""

    def __init__(self, publisher: Publisher, key: EpisodeKey, stamps: Stamps, buffers: Buffers) -> None:
        self._publisher = publisher
        self._key = key
        self._name, self._fd = self._create(stamps)
        self._writer = HashingWriter(self._fd, buffers)
        self._settled = False

    def _create(self, stamps: Stamps) -> tuple[str, int]:
        while True:
            name = traces.new_name(self._key, stamps)
            path = self._publisher.path_of(name)
            fd = os.open(path, _CREATE_FLAGS, atomic.FILE_MODE)
            try:
                # Between the two calls a starting receiver may take the file for a dead one.
                if try_lock(fd) and os.fstat(fd).st_nlink == 1:
                    return name, fd
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                os.close(fd)
                raise
            os.close(fd)

    @property
    def size_bytes(self) -> int:
        """See `Incoming.size_bytes`."""
        return self._writer.size_bytes

    def lend(self) -> memoryview:
        """See `Incoming.lend`."""
        with storage_errors("write"):
            return self._writer.lend()

    def commit(self, count: int) -> None:
        """See `Incoming.commit`."""
        with storage_errors("write"):
            self._writer.commit(count)

    def hexdigest(self) -> str:
        """See `Incoming.hexdigest`."""
        return self._writer.hexdigest()

    def open(self) -> BinaryIO:
        """See `Incoming.open`."""
        with storage_errors("write"):
            self._writer.flush()
        with storage_errors("open"):
            return open(self._publisher.path_of(self._name), "rb")

    def sync(self) -> None:
        """See `Incoming.sync`."""
        with storage_errors("write"):
            self._writer.flush()
        with storage_errors("fsync"):
            # Whatever a file system may do to a write: what is published has the length that was hashed.
            if os.fstat(self._fd).st_size != self._writer.size_bytes:
                raise OSError(errno.EIO, "the file has not the length that was written")
            os.fsync(self._fd)

    def publish(self) -> str | None:
        """See `Incoming.publish`."""
        with storage_errors("publish"):
            return str(self._key) if self._publisher.publish(self._name, self._key) else None

    def discard(self) -> None:
        """See `Incoming.discard`: the name decided, so there is nothing to be discarded."""

    def settle(self) -> None:
        """See `Incoming.settle`."""
        with storage_errors("settle"):
            try:
                os.unlink(self._publisher.path_of(self._name))
            except FileNotFoundError:
                # It was published without a link, and left a marker.
                self._publisher.settle(self._key, os.fstat(self._fd).st_ino)
            self._settled = True

    def close(self) -> None:
        """Discard what was not published, then let the lock go. What was published and not settled keeps
        its name in ``incoming/``, whatever went wrong after that: the next writer completes it. What could
        not be discarded is left to the next start: it makes no answer worse."""
        self._writer.close()
        try:
            if not self._settled and os.fstat(self._fd).st_nlink < 2:
                os.unlink(self._publisher.path_of(self._name))
        except FileNotFoundError:
            pass
        except OSError as exc:
            log.warning(event("upload-left", file=self._name, reason=exc.strerror))
        finally:
            os.close(self._fd)


class HeldFile:
    """See `storage.base.Held`."""

    def __init__(self, publisher: Publisher, key: EpisodeKey, stream: BinaryIO) -> None:
        self._publisher = publisher
        self._key = key
        self._stream = stream

    @property
    def size_bytes(self) -> int:
        """See `Held.size_bytes`."""
        with storage_errors("stat"):
            return os.fstat(self._stream.fileno()).st_size

    @property
    def placed(self) -> str:
        """See `Held.placed`."""
        return str(self._key)

    @property
    def modified_ns(self) -> int:
        """See `Held.modified_ns`."""
        with storage_errors("stat"):
            return os.fstat(self._stream.fileno()).st_mtime_ns

    def hexdigest(self) -> str:
        """See `Held.hexdigest`."""
        with storage_errors("read"):
            return sha256_of(self._stream)

    def open(self) -> BinaryIO:
        """See `Held.open`."""
        self._stream.seek(0)
        return self._stream

    def stamps(self) -> Stamps | None:
        """See `Held.stamps`."""
        with storage_errors("read"):
            inode = os.fstat(self._stream.fileno()).st_ino
            return traces.stamps_in(traces.traces_of(self._publisher.incoming, self._key, inode))

    def make_durable(self) -> None:
        """See `Held.make_durable`."""
        with storage_errors("fsync"):
            os.fsync(self._stream.fileno())
            with self._publisher.hosts.for_writing(self._key.host_id) as folder:
                os.fsync(folder)

    def republish(self) -> None:
        """See `Held.republish`."""
        inode = os.fstat(self._stream.fileno()).st_ino
        with storage_errors("republish"):
            found = traces.traces_of(self._publisher.incoming, self._key, inode)
            if found and not self._publisher.publish_anew(found[0], self._key):
                raise EpisodeBusy
        self.make_durable()

    def settle(self) -> None:
        """See `Held.settle`."""
        with storage_errors("settle"):
            self._publisher.settle(self._key, os.fstat(self._stream.fileno()).st_ino)

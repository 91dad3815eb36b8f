"""Write and hash a body as fast as the disk and SHA-256 allow.

A small body is hashed and written by the caller. From the second buffer on, a thread of its own writes while the
caller receives and hashes the next one: recv(2), SHA-256 and write(2) all release the interpreter's lock. The
buffers are aligned and whole, so the file is written past the page cache (O_DIRECT, open(2)): the bytes are on their
way to the disk as they come, the sync at the end has little left to do, and a small machine keeps its cache. Where
the file system refuses O_DIRECT, the same thread writes through the cache. docs/performance.md has the figures.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeAlias

from cis490_receiver.files import atomic

#: Received, hashed and written at a time, and how many such buffers an upload has in flight.
BUFFER_BYTES: Final = 1 << 20
BUFFERS: Final = 4
#: How many buffers a process keeps for the next uploads.
SPARE_BUFFERS: Final = 8

#: A buffer and how much of it is to be written, or something to be done in its turn.
_Job: TypeAlias = "tuple[mmap.mmap, int] | Callable[[], None]"


class Buffers:
    """Aligned buffers that uploads take and give back. Threads share it.

    A few are kept, and lent again in the reverse order: their pages are there already and warm, while a new mapping
    costs a page fault every 4 KiB, and its end an interruption of every thread's processor (munmap(2)).
    """

    def __init__(self) -> None:
        self._spare: collections.deque[mmap.mmap] = collections.deque(maxlen=SPARE_BUFFERS)

    def take(self) -> mmap.mmap:
        """A buffer of BUFFER_BYTES with anything in it."""
        try:
            return self._spare.pop()
        except IndexError:
            # Private: after a fork nobody shares it.
            return mmap.mmap(-1, BUFFER_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give(self, buffer: mmap.mmap) -> None:
        """Take back what nobody uses any more. What is too much goes back to the system."""
        self._spare.append(buffer)


class HashingWriter:
    """Appends to a file, by way of buffers that it lends. One thread at a time may use it."""

    def __init__(self, fd: int, buffers: Buffers, size_bytes: int = 0) -> None:
        """Append to the open file `fd`, which is `size_bytes` long and whose next write(2) goes to its end."""
        self._fd = fd
        self._buffers = buffers
        self._hash = hashlib.sha256()
        self._free: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        self._made = 0
        self._buffer: mmap.mmap | None = None
        self._thread: _WriterThread | None = None
        self._failure: OSError | None = None
        #: What was committed, but for a piece that the caller was told could not be written.
        self.size_bytes = size_bytes

    def lend(self) -> memoryview:
        """A buffer to fill; what is in it is written by `commit`. It ends where a whole number of buffers ends in
        the file, so that after an odd beginning, or a short piece, the next ones are aligned again.

        Raises:
            OSError: an earlier buffer could not be written.
        """
        if self._buffer is None:
            self._buffer = self._next_buffer()
        return memoryview(self._buffer)[: BUFFER_BYTES - self.size_bytes % BUFFER_BYTES]

    def commit(self, count: int) -> None:
        """Hash the first `count` bytes of the lent buffer and write them, now or soon.

        Raises:
            OSError: they, or an earlier buffer, could not be written.
        """
        buffer, self._buffer = self._buffer, None
        assert buffer is not None
        with memoryview(buffer) as view, view[:count] as filled:
            self._hash.update(filled)
            if self._thread is None and count < len(buffer):
                self._free.put(buffer)
                atomic.write_all(self._fd, filled)
                self.size_bytes += count
                return
        self.size_bytes += count
        if self._thread is None:
            self._thread = _WriterThread(self._fd, self._free)
        self._thread.write(buffer, count)

    def hexdigest(self) -> str:
        """SHA-256 of everything that was committed to this writer, as 64 hex digits."""
        return self._hash.hexdigest()

    def after_writing(self, do: Callable[[], None]) -> None:
        """Call `do` once what was committed so far is written: now, or soon in the thread that writes.

        Raises:
            OSError: an earlier write failed, or, now, `do` did.
        """
        if self._thread is None:
            do()
        else:
            self._thread.raise_failure()
            self._thread.call(do)

    def flush(self) -> None:
        """Wait until everything that was committed is written.

        Raises:
            OSError: it could not be, now or earlier.
        """
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror) from self._failure
        if self._thread is not None:
            thread, self._thread = self._thread, None
            try:
                thread.finish()
            except OSError as exc:
                self._failure = exc
                raise

    def close(self) -> None:
        """Let the thread and the buffers go; what was not written is lost."""
        with contextlib.suppress(OSError):
            self.flush()
        if self._buffer is not None:
            self._free.put(self._buffer)
            self._buffer = None
        with contextlib.suppress(queue.Empty):
            while True:
                self._buffers.give(self._free.get_nowait())

    def _next_buffer(self) -> mmap.mmap:
        if self._made < BUFFERS and self._free.empty():
            self._made += 1
            return self._buffers.take()
        buffer = self._free.get()
        if self._thread is not None:
            self._thread.raise_failure()
        return buffer


class _WriterThread:
    """Writes buffers in order and hands them back."""

    def __init__(self, fd: int, free: queue.SimpleQueue[mmap.mmap]) -> None:
        self._fd = fd
        self._free = free
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failure: OSError | None = None
        #: Whether the file system takes O_DIRECT, as far as is known, and whether it is on.
        self._can_direct = True
        self._direct = False
        self._thread = threading.Thread(target=self._run, name="episode-writer", daemon=True)
        self._thread.start()

    def write(self, buffer: mmap.mmap, count: int) -> None:
        """Write `count` bytes of `buffer` soon."""
        self._jobs.put((buffer, count))

    def call(self, do: Callable[[], None]) -> None:
        """Call `do` when what came before it is written; an OSError of it is a failure like that of a write."""
        self._jobs.put(do)

    def finish(self) -> None:
        """Wait for the last write.

        Raises:
            OSError: one of them failed.
        """
        self._jobs.put(None)
        self._thread.join()
        self._use_direct(False)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raises:
        OSError: a write failed.
        """
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror) from self._failure

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            # After a failure nothing more is done, but every buffer goes back, so that nobody waits.
            if self._failure is None:
                try:
                    if callable(job):
                        job()
                    else:
                        self._write(*job)
                except OSError as exc:
                    self._failure = exc
            if not callable(job):
                self._free.put(job[0])

    def _write(self, buffer: mmap.mmap, count: int) -> None:
        # A short piece is no whole number of blocks.
        self._use_direct(count == len(buffer))
        with memoryview(buffer) as view:
            done = 0
            while done < count:
                try:
                    done += os.write(self._fd, view[done:count])
                except OSError as exc:
                    if exc.errno != errno.EINVAL or not self._direct:
                        raise
                    # The file system wants larger blocks than these after all, or took a part of one.
                    self._can_direct = False
                    self._use_direct(False)

    def _use_direct(self, wanted: bool) -> None:
        wanted = wanted and self._can_direct
        if wanted != self._direct:
            done = _set_direct(self._fd, wanted)
            self._can_direct = self._can_direct and done
            self._direct = wanted == done


def _set_direct(fd: int, direct: bool) -> bool:
    """Turn O_DIRECT on or off; gives whether that was done."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    wanted = flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, wanted)
    except OSError:
        return False
    return True

"""Files that are whole or absent, folders whose entries stay, locks that die with their holder.

Every function that writes says in its docstring what holds after a crash. The model is POSIX's worst case
(fsync(2), open(2)): data that was not synced may be lost or torn, and a folder's entries may each be lost
or kept until the folder itself is synced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cis490_receiver.files.lines import end_of_lines

FILE_MODE = 0o640
FOLDER_MODE = 0o750
#: More than all writers at once can have appended and not synced.
_UNSYNCED_BYTES = 1 << 20
_LOCKED_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
#: What a write fails with when there is no room for it.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`; write(2) may take less than it is given (a signal, a nearly full disk)."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(path: Path) -> None:
    """Put the entries of `path` on stable storage: after this returns, files created, linked or renamed
    in it before the call are found under those names after a crash."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(path: Path) -> None:
    """Create `path` and its missing parents, each entry synced, so that a crash cannot take them away.

    The entry of the last folder that is there already is synced as well: who made it may have been killed
    just before.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    with contextlib.suppress(PermissionError):
        # Whoever may not even read a folder made none in it.
        sync_folder(path.parent)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=FOLDER_MODE)
        try:
            sync_folder(folder.parent)
        except OSError:
            # As in `sync_new_file`: to be made anew.
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise


def replace_file(path: Path, data: bytes | Callable[[], bytes]) -> None:
    """Make `data` the content of `path`; given a function, what it returns when it is this writer's turn.

    After a crash at any instant `path` holds either its old content or `data`, never a mixture; once this
    returns it holds `data`. Concurrent writers of one path take turns. What a crash may leave beside it is
    one `.<name>.tmp`, which the next writer uses again.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with locked_file(temporary) as fd:
        os.ftruncate(fd, 0)
        write_all(fd, data() if callable(data) else data)
        os.fsync(fd)
        os.rename(temporary, path)
        sync_folder(path.parent)


def cut_torn_lines(fd: int) -> None:
    """Cut out the lines that a crash tore: what follows the last newline, and those with holes. The caller
    holds the file's lock."""
    end = end_of_lines(fd)
    if end != os.fstat(fd).st_size:
        os.ftruncate(fd, end)
    cut_holed_lines(fd)


def has_holed_lines(fd: int) -> bool:
    """Whether `cut_holed_lines` would find any."""
    return b"\0" in _end_that_may_be_unsynced(fd)[1]


def _end_that_may_be_unsynced(fd: int) -> tuple[int, bytes]:
    """Where it begins, and its bytes."""
    start = max(0, os.fstat(fd).st_size - _UNSYNCED_BYTES)
    return start, os.pread(fd, _UNSYNCED_BYTES, start)


def cut_holed_lines(fd: int) -> bytes:
    """Cut out the lines that have zero bytes in them: a block of theirs never reached the disk, though a later
    one did. None of them was ever synced. Whole lines behind them stay. The caller holds the file's lock.

    Returns:
        What was cut out; of a line longer than the end that can be unsynced, only its end.
    """
    start, tail = _end_that_may_be_unsynced(fd)
    hole = tail.find(b"\0")
    if hole < 0:
        return b""
    first = tail.rfind(b"\n", 0, hole) + 1
    lines = tail[first:].splitlines(keepends=True)
    # The first of them may begin before what was read.
    os.ftruncate(fd, start + first if first else end_of_lines(fd, start))
    write_all(fd, b"".join(line for line in lines if b"\0" not in line))
    return b"".join(line for line in lines if b"\0" in line)


def sync_new_file(path: Path) -> None:
    """Put the name of `path`, an empty file, on stable storage. The caller holds its lock.

    When that fails the file is taken away: a second sync of the same name would mean nothing, and who tries
    again makes it anew.
    """
    try:
        sync_folder(path.parent)
    except OSError:
        os.unlink(path)
        raise


def append_lines(
    fd: int, path: Path, pieces: Iterable[bytes], *, take_back: Callable[[int, int], None] = os.ftruncate
) -> None:
    """Append `pieces`, which make up whole lines, to the file `path`, open and locked as `fd`.

    Once this returns they are on stable storage; after a crash before that, some of them, and torn ones, may
    be there. When the write or its sync fails, the file is cut back to what it was: who tries again writes the
    lines anew, so that no failed sync is ever repeated in the hope that it means something the second time.
    `take_back` is what cuts the file, given its descriptor and length.
    """
    end = os.fstat(fd).st_size
    if end == 0:
        # The file may be new: by us, by another process a moment ago, or after a swap.
        sync_new_file(path)
    try:
        for piece in pieces:
            write_all(fd, piece)
        sync_lines(fd, path)
    except OSError:
        take_back(fd, end)
        raise


def sync_lines(fd: int, path: Path) -> None:
    """Put the lines of the file `path`, open and locked as `fd`, on stable storage.

    After a sync failed, the kernel takes for clean what never reached the disk, and the next sync would succeed
    and mean nothing (fsync(2), Linux since 4.13). Lines that nobody has synced yet may be among it: those of a
    writer that was killed. So the end of the file is written over itself, and is the next sync's business again.

    Raises:
        OSError: they are not there; a later call does it anew.
    """
    try:
        os.fdatasync(fd)
    except OSError:
        _write_end_anew(fd, path)
        raise


def _write_end_anew(fd: int, path: Path) -> None:
    start, tail = _end_that_may_be_unsynced(fd)
    # A descriptor with O_APPEND, as `fd` is, writes at the end whatever offset it is given (pwrite(2), BUGS).
    target = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.pwrite(target, tail, start)
    finally:
        os.close(target)


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[int]:
    """Open `path` (created when absent) for appending and hold an exclusive flock(2) on it.

    The file that is locked is the one that bears the name: when it was renamed, replaced or unlinked while
    this call waited, the new one is opened and locked instead. The lock ends with the process, so a crash
    leaves none behind. Each call has its own open file description: threads and forked workers exclude
    each other alike.
    """
    fd = _open_and_lock(path)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked_file_or_none(path: Path) -> Iterator[int | None]:
    """`locked_file`, but give None at once when somebody else holds the lock."""
    try:
        fd = _open_and_lock(path, fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _open_and_lock(path: Path, flags: int = 0) -> int:
    while True:
        fd = os.open(path, _LOCKED_FLAGS, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | flags)
            if _bears_name(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _bears_name(fd: int, path: Path) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))

"""Files that are whole or absent, folders whose entries stay, locks that die with their holder.

Every function that writes says in its docstring what holds after a crash. The model is POSIX's worst case
(fsync(2), open(2)): data that was not synced may be lost or torn, and a folder's entries may each be lost
or kept until the folder itself is synced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

FILE_MODE = 0o640
FOLDER_MODE = 0o750


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
        sync_folder(folder.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`.

    After a crash at any instant `path` holds either its old content or `data`, never a mixture; once this
    returns it holds `data`. Concurrent writers of one path take turns. What a crash may leave beside it is
    one `.<name>.tmp`, which the next writer uses again.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with locked_file(temporary) as fd:
        os.ftruncate(fd, 0)
        write_all(fd, data)
        os.fsync(fd)
        os.rename(temporary, path)
        sync_folder(path.parent)


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


def _open_and_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        fd = os.open(path, flags, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
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

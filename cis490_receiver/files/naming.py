"""Give a file a name that nobody has yet, and never take one away."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic

#: What link(2) fails with where the file system has no hard links.
NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
_RENAME_NOREPLACE: Final = 1
_AT_FDCWD: Final = -100


def rename_no_replace(source: Path, name: str, folder: int) -> None:
    """Move the file `source` to `name` in the open folder `folder` (renameat2(2)).

    Raises:
        FileExistsError: `name` is taken; nothing was changed.
        OSError: it could not be done.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(source), folder, os.fsencode(name), ctypes.c_uint(_RENAME_NOREPLACE)
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, name)


def publish_new_file(source: Path, target: Path) -> None:
    """Give the file `source`, whose content is on stable storage, the name `target` in the same folder.

    After a crash at any instant `target` is absent or has all of the content; once this returns it stays, and `source`
    is a name no more. Before that, a crash may leave `source` as a second name of `target`: who makes a new file
    of that name has to unlink it first, and not to write over it.

    Raises:
        FileExistsError: `target` is taken; nothing was changed.
        OSError: it could not be done; `target` is absent, though a crash may bring it back, whole, until the folder is
            synced again.
    """
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as exc:
            if exc.errno not in NO_LINKS:
                raise
            rename_no_replace(source, target.name, folder)
        try:
            os.fsync(folder)
        except OSError:
            # As in `atomic.sync_new_file`: to be made anew.
            os.unlink(target)
            raise
    finally:
        os.close(folder)
    source.unlink(missing_ok=True)


def write_new_file(path: Path, pieces: Iterable[bytes], mode: int) -> None:
    """Write a new file, in place of what bears the name, and put its content on stable storage, not its name."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        for piece in pieces:
            atomic.write_all(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)

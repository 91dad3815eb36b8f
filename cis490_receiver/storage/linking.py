"""Give a file its final name without ever replacing what bears it already.

link(2) does, and leaves the old name as the trace of an unfinished publication. Where the file system has
no hard links (exFAT, some network mounts), renameat2(2) with RENAME_NOREPLACE takes its place; the old name
is gone with it, so a *marker* that names the episode is the trace; its content is the final name. A marker
whose upload is still there tells of a rename that has not happened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.files.naming import NO_LINKS, rename_no_replace

MARKER_SUFFIX: Final = "~marker"


def link_no_clobber(source: str, name: str, folder: int) -> None:
    """Make `name` in the open folder `folder` a name of the file `source`.

    Atomic, and visible to others at once, but durable only when `folder` was synced. With a link, `source`
    stays a name too; after a rename ``<source>~marker`` is there in its stead.

    Raises:
        FileExistsError: `name` is taken; nothing was changed.
        OSError: it could not be done.
    """
    try:
        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in NO_LINKS:
            raise
        _rename_with_marker(Path(source), name, folder)


def _rename_with_marker(source: Path, name: str, folder: int) -> None:
    marker = source.with_name(marker_of(source.name))
    try:
        _write_marker(marker, name)
        rename_no_replace(source, name, folder)
    except OSError:
        remove_marker(source)
        raise


def remove_marker(source: Path) -> None:
    """Remove the marker of the upload `source`, if it has one: the rename did not happen. Durably, before the upload
    itself may go: a marker that is left alone tells of an episode."""
    try:
        source.with_name(marker_of(source.name)).unlink()
    except FileNotFoundError:
        return
    atomic.sync_folder(source.parent)


def _write_marker(marker: Path, name: str) -> None:
    """Durably: the marker must not be lost while the rename is kept."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(marker, flags, atomic.FILE_MODE)
    try:
        atomic.write_all(fd, os.fsencode(name))
        os.fsync(fd)
    finally:
        os.close(fd)
    atomic.sync_folder(marker.parent)


def marker_of(name: str) -> str:
    """The marker's name for the upload `name`."""
    return name + MARKER_SUFFIX

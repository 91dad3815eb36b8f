"""A host's folder whose entry could not be synced is nobody's foundation."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from cis490_receiver.storage.folders import HostFolders


def test_nobody_builds_on_a_folder_whose_sync_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first episodes of a host: the sync of the first one fails, and a second sync would succeed
    and mean nothing. The second writer makes the folder anew."""
    made: list[int] = []
    second = threading.Thread(target=lambda: _open(HostFolders(tmp_path)))
    mkdir, fsync = os.mkdir, os.fsync

    def counted(*args: object, **kwargs: object) -> None:
        mkdir(*args, **kwargs)  # type: ignore[arg-type]
        made.append(threading.get_ident())

    def failing(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        second.start()
        # It would be through long before, were it let.
        second.join(timeout=0.2)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "mkdir", counted)
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        _open(HostFolders(tmp_path))
    second.join()
    assert made == [threading.get_ident(), second.ident]
    assert (tmp_path / "host-a").is_dir()


def _open(folders: HostFolders) -> None:
    with folders.for_writing("host-a"):
        pass

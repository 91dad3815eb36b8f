"""Which file, in which state, the byte offsets of index.jsonl belong to.

Who follows the journal by byte offset has to know when what lies before the offset is no longer what it read. So the
journal has a *generation*, a random name that changes whenever the file is swapped for another (reindex) or lines that
could be seen are cut out of it. Inode numbers do not tell: file systems give them out again.

The generation is kept in ``index.generation`` beside the journal, under the inode that it belongs to:

- before a swap, the new file's generation is noted beside the old one's, both files being there: whatever a crash
  leaves under the name ``index.jsonl`` has its own;
- before a cut it is forgotten, and a new one is noted when the cut is done: in between, and after a crash in between,
  the journal has none, until the next writer gives it one.

The file is written over in place, so this works on a full disk. It may be deleted: followers then read the journal
from its start again, as they do after anything that leaves a doubt.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cis490_receiver.files import atomic
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

GENERATION_NAME: Final = "index.generation"
#: One disk sector, which is written whole or not at all; a torn one would read as no generation.
_SIZE: Final = 512
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Generation:
    """The generation of one journal. Whoever changes it holds the journal's lock; whoever reads it needs none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: What was seen to be in order: the journal's inode and the state of our file.
        self._seen: tuple[int, int, int] | None = None

    def of(self, fd: int) -> str:
        """The generation of the journal that is open as `fd`. To be asked before the file's length is.

        Where none is noted, the answer changes with every change of the file, so that no offset outlives one.
        """
        status = os.fstat(fd)
        noted = self._read().get(str(status.st_ino))
        if noted is not None:
            return noted
        passing = f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        return "unnoted-" + hashlib.sha256(passing.encode("ascii")).hexdigest()[:32]

    def ensure(self, fd: int) -> None:
        """See to it that the journal open as `fd` has a generation, a new one when the file is empty. Costs one
        stat(2) once that is so."""
        status = os.fstat(fd)
        with contextlib.suppress(OSError):
            if status.st_size and self._seen == (status.st_ino, *self._state()):
                return
        if status.st_size == 0 or str(status.st_ino) not in self._read():
            self._note({str(status.st_ino): secrets.token_hex(16)})
        with contextlib.suppress(OSError):
            self._seen = (status.st_ino, *self._state())

    @contextlib.contextmanager
    def cutting(self, fd: int) -> Iterator[None]:
        """Lines are cut out of the journal open as `fd` in the meantime."""
        self._note({})
        try:
            yield
        finally:
            self._note({str(os.fstat(fd).st_ino): secrets.token_hex(16)})

    def before_swap(self, old: int, new: int) -> None:
        """Note the generation of the file open as `new`, which is about to take the name from the one open as `old`.

        Raises:
            OSError: it could not be noted; the swap must not be.
        """
        old_inode, new_inode = str(os.fstat(old).st_ino), str(os.fstat(new).st_ino)
        self._write({old_inode: self.of(old), new_inode: secrets.token_hex(16)})

    def give(self, fd: int, generation: str) -> None:
        """Note `generation` as that of the file open as `fd`, beside what is noted.

        Raises:
            OSError: it could not be noted.
        """
        inode = str(os.fstat(fd).st_ino)
        others = {known: name for known, name in self._read().items() if known != inode}
        self._write({**dict(list(others.items())[:1]), inode: generation})

    def _note(self, generations: Mapping[str, str]) -> None:
        """`_write`, for who has to go on in any case: on a broken disk the journal's lines come first."""
        try:
            self._write(generations)
        except OSError as exc:
            log.error(event("generation-not-noted", file=self._path.name, reason=exc.strerror))

    def _write(self, generations: Mapping[str, str]) -> None:
        """Once this returns it is on stable storage; after a crash before that, this or what was there or nothing."""
        text = json.dumps(generations).encode("ascii").ljust(_SIZE - 1) + b"\n"
        new = not self._path.exists()
        fd = os.open(self._path, _FLAGS, atomic.FILE_MODE)
        try:
            os.pwrite(fd, text, 0)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if new:
            atomic.sync_folder(self._path.parent)

    def _read(self) -> dict[str, str]:
        try:
            with open(self._path, "rb") as stream:
                found = json.loads(stream.read(_SIZE).decode("ascii"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and all(isinstance(v, str) for v in found.values()) else {}

    def _state(self) -> tuple[int, int]:
        status = os.stat(self._path)
        return status.st_ino, status.st_mtime_ns

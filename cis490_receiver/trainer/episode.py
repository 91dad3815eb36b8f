"""One episode of a dataset."""

from __future__ import annotations

import contextlib
import io
import os
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from cis490_receiver import models
from cis490_receiver.archive import Member
from cis490_receiver.trainer import members
from cis490_receiver.trainer.supplies import Supply
from cis490_receiver.trainer.verified import Stream

_BUFFER_BYTES = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Episode(models.Episode):
    """An episode: the fields of its index line as attributes, and what is in it.

    Whatever gives its bytes raises `EpisodeFailed` when they cannot be had (after some tries), are not those whose
    SHA-256 is in the index (`DigestMismatch`), or cannot be decoded (`BadEpisode`).

    Attributes:
        is_withdrawn: whether it was withdrawn, at the look that found it.
        withdrawn_at_wall, withdrawn_why: when and why, where the source tells.
    """

    is_withdrawn: bool = False
    withdrawn_at_wall: str | None = None
    withdrawn_why: str | None = None
    _supply: Supply = field(repr=False, compare=False)

    @property
    def url(self) -> str:
        """Where it is: the URL at the receiver, or that of the file (``file:``)."""
        return self._supply.url(self)

    def open(self, member: str) -> io.BufferedReader:
        """The content of the file `member`, named as it stands in the archive or without the one folder that it lies
        in.

        It is decoded as it is downloaded. Its end comes only when the SHA-256 of the whole episode was seen to be
        right: until then, what was read may turn out to be worth nothing, and then the read raises. Close it (`with`):
        what was not read is not fetched.

        Raises:
            NoSuchMember: the episode has no such file.
        """
        stream = self._stream()
        try:
            opened = members.open_member(stream, member, self.key)
        except BaseException:
            stream.close()
            raise
        return io.BufferedReader(opened, _BUFFER_BYTES)

    def read_bytes(self, member: str) -> bytes:
        """The whole content of the file `member`, verified.

        Raises:
            NoSuchMember: the episode has no such file.
        """
        return self.load(member)[member]

    def load(self, *names: str) -> dict[str, bytes]:
        """The whole content of the files `names`, by name, verified, read in one pass; without names, of all files.

        Raises:
            NoSuchMember: the episode has not all of them.
        """
        with self._read() as stream:
            return members.load_members(stream, names, self.key)

    def members(self) -> list[Member]:
        """All that is in it, in the archive's order: name, kind (``file``, ``folder``, …) and size in bytes."""
        with self._read() as stream:
            return members.list_members(stream, self.key)

    @property
    def meta(self) -> dict[str, Any]:
        """Its ``meta.json``, read anew each time.

        Raises:
            NoSuchMember: it has none.
        """
        with self._read() as stream:
            return members.load_meta(stream, self.key)

    def path(self) -> Path:
        """A local file with its bytes, a ``.tar.zst``, verified.

        In a cache it stays until it is evicted, which the last 64 that were asked for never are; without a cache, until
        this object is gone.
        """
        path, is_mine = self._supply.path(self)
        if is_mine:
            weakref.finalize(self, _remove, path, os.getpid())
        return path

    def open_archive(self) -> BinaryIO:
        """Its bytes as they are, a ``.tar.zst``, with what `open` promises of their end."""
        return cast(BinaryIO, io.BufferedReader(_Archive(self._stream()), _BUFFER_BYTES))

    def _stream(self) -> Stream:
        return self._supply.stream(self)

    def _read(self) -> contextlib.closing[Stream]:
        return contextlib.closing(self._stream())


class _Archive(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._stream.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _remove(path: Path, pid: int) -> None:
    # Not by a process that was forked off and ends.
    if os.getpid() == pid:
        with contextlib.suppress(OSError):
            path.unlink()

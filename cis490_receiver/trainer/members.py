"""The files in an episode, decoded as its bytes come. Nothing is ever extracted."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from cis490_receiver.archive import META_NAME, ArchiveError, Limits, Member, Walk, is_meta, parse_meta
from cis490_receiver.models import EpisodeKey
from cis490_receiver.trainer.failures import BadEpisode, NoSuchMember
from cis490_receiver.trainer.verified import Stream

#: Whoever reads waits for it, and can end it.
_LIMITS: Final = Limits(decompressed_bytes=1 << 40, headers=250_000, seconds=math.inf)
_SHOWN: Final = 20


class MemberStream(io.RawIOBase):
    """The content of one file in an episode. The last byte of it is given only after the whole episode was verified."""

    def __init__(self, stream: Stream, walk: Walk, member: Member, key: EpisodeKey) -> None:
        super().__init__()
        self._stream = stream
        self._walk = walk
        self._left = member.size_bytes
        self._key = key
        self.name = member.name

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer`, see `io.RawIOBase`.

        Raises:
            EpisodeFailed: the bytes could not be had, are not those of the index, or cannot be decoded.
        """
        view = memoryview(buffer).cast("B")
        with _named(self._stream, self._key):
            piece = self._walk.read(min(len(view), self._left))
        if len(piece) == self._left:
            self._stream.finish()
        self._left -= len(piece)
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Let go of the episode; what was not read is not fetched."""
        if not self.closed:
            self._stream.close()
        super().close()


def open_member(stream: Stream, name: str, key: EpisodeKey) -> MemberStream:
    """The file `name` in the archive `stream`.

    Raises:
        NoSuchMember: there is none.
        EpisodeFailed: the archive could not be had, or read.
    """
    seen: list[str] = []
    with _named(stream, key):
        walk = Walk(stream, _LIMITS)
        for member in walk:
            if member.kind == "file" and is_called(member, name):
                return MemberStream(stream, walk, member, key)
            seen.append(member.name)
    stream.finish()
    raise _missing(name, seen, key)


def list_members(stream: Stream, key: EpisodeKey) -> list[Member]:
    """All that is in the archive, in its order.

    Raises:
        EpisodeFailed: as `open_member`.
    """
    with _named(stream, key):
        walk = Walk(stream, _LIMITS)
        members = list(walk)
        walk.finish()
    stream.finish()
    return members


def load_members(stream: Stream, names: Collection[str], key: EpisodeKey) -> dict[str, bytes]:
    """The content of the files `names`, or of all where it is empty, by their names, in one pass.

    Raises:
        NoSuchMember, EpisodeFailed: as `open_member`.
    """
    found: dict[str, bytes] = {}
    seen: list[str] = []
    with _named(stream, key):
        walk = Walk(stream, _LIMITS)
        for member in walk:
            seen.append(member.name)
            if member.kind == "file":
                wanted = [name for name in names if is_called(member, name)] if names else [member.name]
                if not found.keys() >= set(wanted):
                    # Of several files of one name the first counts.
                    found |= dict.fromkeys(set(wanted) - found.keys(), walk.content())
    stream.finish()
    for name in names:
        if name not in found:
            raise _missing(name, seen, key)
    return {name: found[name] for name in names} if names else found


def load_meta(stream: Stream, key: EpisodeKey) -> dict[str, Any]:
    """The object in ``meta.json``.

    Raises:
        NoSuchMember, EpisodeFailed: as `open_member`.
    """
    found: dict[str, Any] | None = None
    seen: list[str] = []
    with _named(stream, key):
        walk = Walk(stream, _LIMITS)
        for member in walk:
            seen.append(member.name)
            if is_meta(member):
                found = parse_meta(walk.content())
                break
    stream.finish()
    if found is None:
        raise _missing(META_NAME, seen, key)
    return found


def is_called(member: Member, name: str) -> bool:
    """Whether `name` names the member: as it stands in the archive, or without the one folder that it lies in."""
    path = member.name.removeprefix("./")
    return bool(name) and name in (member.name, path, path.partition("/")[2])


def _missing(name: str, seen: list[str], key: EpisodeKey) -> NoSuchMember:
    shown = ", ".join(repr(item[:100]) for item in seen[:_SHOWN]) or "nothing"
    more = f" and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
    return NoSuchMember(f"no file {name!r} in {key}; there is {shown}{more}")


@contextmanager
def _named(stream: Stream, key: EpisodeKey) -> Iterator[None]:
    try:
        yield
    except ArchiveError as exc:
        # What came wrong says more than that it cannot be decoded.
        stream.finish()
        raise BadEpisode(f"{key} cannot be decoded: {exc}") from exc

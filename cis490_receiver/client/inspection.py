"""Read an episode before it is shipped: what is broken on this host shall not be acknowledged by the receiver.

`read_through` decodes it to its end, checksums and tar headers included; `read_frames` only sees that its zstd frames
are complete and reads it as far as its meta.json. Either way it is hashed on the way, in bounded memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

from cis490_receiver import archive
from cis490_receiver.archive import Limits, Member, Walk
from cis490_receiver.client.episode import shortcomings, stamps
from cis490_receiver.errors import ReceiverError
from cis490_receiver.http_client.failures import FileChanged

_MAGIC_BYTES: Final = 4
_STEP: Final = 256 * 1024

#: What an archive of this host's own may come to. The time is that of the processor, and grows with the file.
_MAX_DECOMPRESSED_BYTES: Final = 1 << 40
_MAX_HEADERS: Final = 10_000_000
_MIN_SECONDS: Final = 600.0
_BYTES_PER_SECOND: Final = 1 << 20

_LIMITS: Final = (archive.TooLong, archive.TooManyBytes, archive.TooManyHeaders)
FRAMES: Final = 'check = "frames"'

#: Told the bytes of each piece of the file that was read.
Seen = Callable[[int], None]
#: Headers of a PUT, and sentences that say what they lack.
_Told = tuple[dict[str, str], tuple[str, ...]]


class NotShippable(ReceiverError):
    """The file is not to be shipped as it is. `remedy` is what a person at the host can do."""

    remedy: ClassVar[str] = ""


class Unfinished(NotShippable):
    """The file ends too early: it is being written, or its writer died."""

    code = "unfinished"
    remedy = "let its recorder finish it; where nothing writes to it any more, record again and delete it"


class Damaged(NotShippable):
    """The file is no episode, or is none any more."""

    code = "damaged"
    remedy = (
        "nothing was sent: put a good copy in its place or record again. Where it was good once, look at this host's "
        "disk (`dmesg`, `smartctl -a`) and memory"
    )


class BeyondCheck(NotShippable):
    """To read it through takes more than this program allows itself."""

    code = "beyond-check"
    remedy = f"set {FRAMES} in lab-host.toml, which ships it without reading all of it, and try again"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a file that may be shipped.

    Attributes:
        headers: what its meta.json says, as headers of a PUT.
        notes: what was not found, as sentences.
        members: how many it has; None where they were not counted.
        content_bytes: how much they hold.
    """

    sha256: str
    headers: dict[str, str]
    notes: tuple[str, ...]
    members: int | None = None
    content_bytes: int | None = None


class _Hashing:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: BinaryIO, seen: Seen) -> None:
        self._stream = stream
        self._seen = seen
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        piece = self._stream.read(size)
        self._digest.update(piece)
        self._seen(len(piece))
        return piece

    def whole(self) -> str:
        """The digest of all of it, of which the rest is read."""
        while self.read(_STEP):
            pass
        return self._digest.hexdigest()


def read_through(path: Path, seen: Seen = lambda _bytes: None) -> Findings:
    """Decode all of `path`: every frame with its checksum, every tar header, the end mark.

    Raises:
        Unfinished, Damaged, BeyondCheck: it is not to be shipped.
        FileChanged: it was written to meanwhile.
        OSError: it cannot be read.
    """
    with _complete(path) as (stream, limits), _told():
        hashing = _Hashing(stream, seen)
        walk = archive.Walk(hashing, limits)
        survey = _Survey(walk)
        for member in walk:
            survey.take(member)
        walk.finish()
        headers, notes = survey.told()
        return Findings(hashing.whole(), headers, notes, survey.members, survey.content_bytes)


def read_frames(path: Path, seen: Seen = lambda _bytes: None) -> Findings:
    """See that the frames of `path` are complete, without decoding them, and look for its meta.json near its beginning.

    Raises:
        Unfinished, Damaged, BeyondCheck: it is not to be shipped.
        FileChanged: it was written to meanwhile.
        OSError: it cannot be read.
    """
    with _complete(path) as (stream, _):
        with _told():
            headers, notes = _look_at_beginning(archive.Walk(stream, archive.SEARCH))
        stream.seek(0)
        return Findings(_Hashing(stream, seen).whole(), headers, notes)


def _look_at_beginning(walk: Walk) -> _Told:
    survey = _Survey(walk)
    try:
        for member in walk:
            survey.take(member)
            if survey.is_done:
                break
    except _LIMITS as exc:
        reached = f"no meta.json was found in its beginning ({exc}), and {FRAMES} looks no further"
        return {}, (reached,)
    return survey.told()


#: By the value of `check` in lab-host.toml.
CHECKS: Final[Mapping[str, Callable[[Path, Seen], Findings]]] = {"full": read_through, "frames": read_frames}


class _Survey:
    """What there is among the members of `walk`."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._found: _Told | None = None
        self.members = 0
        self.content_bytes = 0

    @property
    def is_done(self) -> bool:
        """Whether meta.json was among what was taken."""
        return self._found is not None

    def take(self, member: Member) -> None:
        """Note the member that the walk has come to. A meta.json that is of no use spoils no episode."""
        self.members += 1
        self.content_bytes += member.size_bytes
        try:
            is_wanted = not self.is_done and archive.is_meta(member)
        except archive.ArchiveError as exc:
            self._found = {}, (str(exc),)
            return
        if is_wanted:
            self._found = _read_meta(self._walk.content())

    def told(self) -> _Told:
        """What meta.json says, and what is missing."""
        where = f"there is no meta.json among its {self.members} members, at the top or in one folder"
        return self._found or ({}, (where,))


def _read_meta(content: bytes) -> _Told:
    try:
        meta = archive.parse_meta(content)
    except archive.ArchiveError as exc:
        return {}, (str(exc),)
    return stamps(meta), tuple(shortcomings(meta))


@contextlib.contextmanager
def _complete(path: Path) -> Iterator[tuple[BinaryIO, Limits]]:
    """The file `path` at its beginning, when it ends where its last zstd frame does."""
    with open(path, "rb") as stream:
        before = os.fstat(stream.fileno())
        if before.st_size < _MAGIC_BYTES:
            raise Unfinished("the file is empty" if not before.st_size else "the file is a few bytes long")
        seconds = _MIN_SECONDS + before.st_size / _BYTES_PER_SECOND
        limits = archive.Limits(_MAX_DECOMPRESSED_BYTES, _MAX_HEADERS, seconds)
        with _told():
            archive.check_frames(stream, limits=limits)
        stream.seek(0)
        try:
            yield stream, limits
        finally:
            after = os.fstat(stream.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise FileChanged from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong with an archive, as what that means for a file on this host."""
    try:
        yield
    except archive.CutShort as exc:
        raise Unfinished(str(exc)) from None
    except _LIMITS as exc:
        raise BeyondCheck(str(exc)) from None
    except archive.ArchiveError as exc:
        raise Damaged(str(exc)) from None

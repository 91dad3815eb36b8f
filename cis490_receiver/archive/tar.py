"""A walk over the members of a tar archive.

The formats are those of POSIX.1-2017 (pax, "ustar Interchange Format") and of GNU tar ("Basic Tar Format"). Where they
leave something open, a member is what Python's tarfile would give a trainer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cis490_receiver.archive.frames import Decompressed, Readable
from cis490_receiver.archive.limits import CPU_TIME, ArchiveError, Budget, Clock, Limits, TooLarge

Kind = Literal["file", "folder", "link", "sparse", "other"]

_BLOCK: Final = 512
_EXTENDED_MAX_BYTES: Final = 1 << 20
_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "link",
    b"2": "link",
    b"5": "folder",
    b"S": "sparse",
}
#: Links, devices, folders and pipes, which are followed by no content whatever size they name.
_EMPTY: Final = frozenset(b"123456")
#: Headers that are no members.
_EXTENDED: Final = frozenset({b"x", b"X", b"g", b"L", b"K"})
#: Records that only sparse files have, in GNU's formats 0.x and 1.0.
_SPARSE: Final = frozenset({b"GNU.sparse.size", b"GNU.sparse.major"})
_WANTED: Final = frozenset({b"path", b"size", b"GNU.sparse.name"}) | _SPARSE
_OCTAL: Final = frozenset(b"01234567")


@dataclass(frozen=True, slots=True)
class Member:
    """What the headers say of one member.

    Attributes:
        name: as it stands there, whatever that may be: no path to be opened.
        kind: what it is; "link" is a symbolic or a hard one.
        size_bytes: how many bytes of content the archive holds for it.
    """

    name: str
    kind: Kind
    size_bytes: int


class Walk:
    """The members of the archive `stream`, one after the other, once. Linear in what is read."""

    def __init__(self, stream: Readable, limits: Limits, clock: Clock = CPU_TIME) -> None:
        self._budget = Budget(limits, clock)
        self._data = Decompressed(stream, self._budget)
        #: What is left of the current member's content, and the padding behind it.
        self._content = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Each member, up to the end-of-archive mark.

        Raises:
            ArchiveError: the stream is not a tar archive, is cut short, or a limit is reached.
        """
        extended: dict[bytes, bytes] = {}
        while any(block := self._data.read(_BLOCK)):
            self._budget.spend_header()
            kind = block[156:157]
            size = _check_header(block)
            if kind in _EXTENDED:
                extended |= self._describe_next(kind, size)
                continue
            member = _member(block, size, extended)
            extended = {}
            if kind == b"S":
                self._skip_sparse_map(block)
            self._start(member.size_bytes)
            yield member
            self._data.skip(self._content + self._padding)

    def content(self) -> bytes:
        """The content of the member that was given last, as far as it was not read. The caller has looked at its size:
        all of it is held in memory.

        Raises:
            ArchiveError: the stream is damaged or cut short, or a limit is reached.
        """
        size, self._content = self._content, 0
        return self._data.read(size)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the content of the member that was given last, of what was not read yet; none at its
        end.

        Raises:
            ArchiveError: as `content` does.
        """
        size = min(size, self._content)
        self._content -= size
        return self._data.read(size)

    def finish(self) -> None:
        """Read what follows the end mark, which is padding: that checks the last frame's checksum.

        Raises:
            ArchiveError: it is damaged, or a limit is reached.
        """
        self._data.finish()

    def _start(self, size: int) -> None:
        self._content = size
        self._padding = -size % _BLOCK

    def _describe_next(self, kind: bytes, size: int) -> dict[bytes, bytes]:
        """What a header that is no member says of the member behind it."""
        if size > _EXTENDED_MAX_BYTES:
            raise TooLarge("an extended header is too large")
        content = self._data.read(size)
        self._data.skip(-size % _BLOCK)
        if kind == b"L":
            return {b"path": content.partition(b"\0")[0]}
        # What is global ("g") or a link's target ("K") changes neither name nor size.
        return _records(content) if kind in b"xX" else {}

    def _skip_sparse_map(self, block: bytes) -> None:
        """GNU's sparse files of old: the map goes on in further blocks as long as each says so."""
        more = block[482]
        while more:
            self._budget.spend_header()
            more = self._data.read(_BLOCK)[504]


def _records(content: bytes) -> dict[bytes, bytes]:
    """The records of a pax extended header, ``<length> <key>=<value>`` and a newline each, that concern us."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(content):
        space = content.find(b" ", start, start + 8)
        digits = content[start:space] if space > start else b""
        end = start + int(digits) if digits.isdigit() else 0
        equals = content.find(b"=", space, end)
        if equals < 0 or end > len(content) or content[end - 1] != 0x0A:
            raise ArchiveError("not a tar archive: bad extended header")
        key = content[space + 1 : equals]
        if key in _WANTED:
            records[key] = content[equals + 1 : end - 1]
        start = end
    return records


def _check_header(block: bytes) -> int:
    """The size that a header names, when its checksum is right."""
    if _octal(block[148:156]) != _sum(block) - _sum(block[148:156]) + 8 * 0x20:
        raise ArchiveError("not a tar archive: bad header checksum")
    return _size(block[124:136])


def _sum(data: bytes) -> int:
    """The sum of at most 512 bytes. The lower half of Adler-32 is one more than the sum modulo 65521 (RFC 1950 §8.2),
    which 256 bytes do not reach; `sum` takes twenty times as long, for each header of an archive."""
    return (zlib.adler32(data[:256]) & 0xFFFF) + (zlib.adler32(data[256:]) & 0xFFFF) - 2


def _member(block: bytes, size: int, extended: dict[bytes, bytes]) -> Member:
    kind = _KINDS.get(block[156:157], "other")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345] != 0:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if extended:
        name = extended.get(b"GNU.sparse.name", extended.get(b"path", name))
        digits = extended.get(b"size", b"")
        size = int(digits) if digits.isdigit() and len(digits) < 20 else size
        if not _SPARSE.isdisjoint(extended):
            kind = "sparse"
    if kind == "file" and name.endswith(b"/"):
        kind = "folder"
    return Member(name.decode("utf-8", "replace"), kind, 0 if block[156] in _EMPTY else size)


def _size(raw: bytes) -> int:
    if raw[0] == 0x80:  # GNU base-256, for members of 8 GiB and more
        return int.from_bytes(raw[1:], "big")
    return _octal(raw)


def _octal(raw: bytes) -> int:
    digits = raw.strip(b" \0") or b"0"
    if not _OCTAL.issuperset(digits):
        raise ArchiveError("not a tar archive: bad number in a header")
    return int(digits, 8)

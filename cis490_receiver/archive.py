"""Look into a ``.tar.zst`` without ever extracting it.

A walk over the tar headers (POSIX.1-2017, pax: "ustar Interchange Format") of a decompressed stream, with a
limit on everything that a hostile file could make endless: the zstd window, the bytes decompressed, the
headers read, the size of ``meta.json``. Memory is bounded whatever the file says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

import zstandard

META_NAME: Final = "meta.json"
META_MAX_BYTES: Final = 1 << 20
#: The window of `zstd --long=27`; a frame that asks for more is refused.
MAX_WINDOW_BYTES: Final = 1 << 27
#: How far a look for meta.json goes when the caller sets no other limit.
SEARCH_BYTES: Final = 256 << 20
SEARCH_MEMBERS: Final = 10_000

_BLOCK: Final = 512
_STEP: Final = 128 * 1024
_REGULAR: Final = frozenset({b"0", b"\0", b"7"})


class ArchiveError(ValueError):
    """The file is not a tar archive in a zstd frame, or is beyond a limit; the text says which."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One tar header."""

    name: str
    size_bytes: int
    is_file: bool


class Decompressed:
    """A stream of which at most `limit` bytes are read; `position` is how many were."""

    def __init__(self, stream: _Readable, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.position = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes.

        Raises:
            ArchiveError: the stream ends before, or the limit is reached.
        """
        pieces = []
        while size > 0:
            piece = self._some(size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Read `size` bytes and forget them."""
        while size > 0:
            size -= len(self._some(min(size, _STEP)))

    def _some(self, size: int) -> bytes:
        if self.position + size > self._limit:
            raise ArchiveError(f"more than {self._limit} bytes when decompressed")
        piece = self._stream.read(size)
        if not piece:
            raise ArchiveError("the archive ends in the middle")
        self.position += len(piece)
        return piece


def read_meta(
    stream: BinaryIO, *, search_bytes: int = SEARCH_BYTES, search_members: int = SEARCH_MEMBERS
) -> dict[str, Any]:
    """The JSON object in the archive's ``meta.json``, which stands at the top level or in one folder.

    Reads `stream` (compressed) no further than needed: KBs when ``meta.json`` comes first.

    Raises:
        ArchiveError: there is none, it is not a JSON object, or the archive is damaged.
    """
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(
        stream, read_size=_STEP, read_across_frames=True
    )
    try:
        decompressed = Decompressed(reader, search_bytes)
        for number, member in enumerate(members(decompressed)):
            if is_meta(member):
                return parse_meta(decompressed.read(member.size_bytes))
            if number >= search_members:
                raise ArchiveError(f"no {META_NAME} among the first {search_members} members")
    except zstandard.ZstdError as exc:
        raise ArchiveError(f"not a zstd frame that can be read: {exc}") from None
    raise ArchiveError(f"no {META_NAME} in the archive")


def is_meta(member: Member) -> bool:
    """Whether `member` is the archive's meta.json.

    Raises:
        ArchiveError: it is, and it is too large to be one.
    """
    path = member.name.removeprefix("./")
    if not member.is_file or path.rpartition("/")[2] != META_NAME or path.count("/") > 1:
        return False
    if member.size_bytes > META_MAX_BYTES:
        raise ArchiveError(f"{META_NAME} is larger than {META_MAX_BYTES} bytes")
    return True


def parse_meta(text: bytes) -> dict[str, Any]:
    """Read the content of a meta.json.

    Raises:
        ArchiveError: it is not a JSON object.
    """
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError):
        raise ArchiveError(f"{META_NAME} is not JSON") from None
    if not isinstance(meta, dict):
        raise ArchiveError(f"{META_NAME} is not a JSON object")
    return meta


def members(stream: Decompressed) -> Iterator[Member]:
    """The headers of a tar stream. After each, the caller may read up to the member's size; what it did
    not read is skipped.

    Raises:
        ArchiveError: the stream is not a tar archive, or is cut short.
    """
    while any(block := stream.read(_BLOCK)):
        member = _parse_header(block)
        start = stream.position
        yield member
        padded = -(-member.size_bytes // _BLOCK) * _BLOCK
        stream.skip(start + padded - stream.position)


def _parse_header(block: bytes) -> Member:
    stored = _octal(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20
    if stored != unsigned:
        raise ArchiveError("not a tar archive: bad header checksum")
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and block[345] != 0:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return Member(name.decode("utf-8", "replace"), _size(block[124:136]), block[156:157] in _REGULAR)


def _size(raw: bytes) -> int:
    if raw[0] == 0x80:  # GNU base-256, for members of 8 GiB and more
        return int.from_bytes(raw[1:], "big")
    return _octal(raw)


def _octal(raw: bytes) -> int:
    try:
        return int(raw.strip(b" \0") or b"0", 8)
    except ValueError:
        raise ArchiveError("not a tar archive: bad number in a header") from None

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

#: The limits of a whole read: what an episode may come to when it is decompressed, and its members.
CHECK_BYTES: Final = 1 << 40
CHECK_MEMBERS: Final = 1_000_000

_ZSTD_MAGIC: Final = 0xFD2FB528
_SKIPPABLE_MAGIC: Final = 0x184D2A50
_BLOCK: Final = 512
_STEP: Final = 128 * 1024
_REGULAR: Final = frozenset({b"0", b"\0", b"7"})


class ArchiveError(ValueError):
    """The file is not a tar archive in a zstd frame, or is beyond a limit; the text says which."""


class CutShort(ArchiveError):
    """What there is of the file is good, and its end is missing."""


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
    extended: dict[bytes, bytes] = {}
    while any(block := stream.read(_BLOCK)):
        member = _parse_header(block, extended)
        start = stream.position
        extended = _read_extended(stream, member) if block[156:157] == b"x" else {}
        if block[156:157] != b"x":
            yield member
        padded = -(-member.size_bytes // _BLOCK) * _BLOCK
        stream.skip(start + padded - stream.position)


def _read_extended(stream: Decompressed, member: Member) -> dict[bytes, bytes]:
    """The records of a pax extended header, ``<length> <key>=<value>`` each, which override the next header."""
    if member.size_bytes > META_MAX_BYTES:
        raise ArchiveError("an extended header is too large")
    content = stream.read(member.size_bytes)
    records: dict[bytes, bytes] = {}
    while content:
        digits, _, rest = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        key, _, value = rest[: length - len(digits) - 1].partition(b"=")
        if length < 5 or length > len(content) or not value.endswith(b"\n"):
            raise ArchiveError("not a tar archive: bad extended header")
        records[key] = value[:-1]
        content = content[length:]
    return records


def _parse_header(block: bytes, extended: dict[bytes, bytes]) -> Member:
    stored = _octal(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20
    if stored != unsigned:
        raise ArchiveError("not a tar archive: bad header checksum")
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and block[345] != 0:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    name = extended.get(b"path", name)
    size = extended.get(b"size", b"")
    size_bytes = int(size) if size.isdigit() and len(size) < 20 else _size(block[124:136])
    return Member(name.decode("utf-8", "replace"), size_bytes, block[156:157] in _REGULAR)


def _size(raw: bytes) -> int:
    if raw[0] == 0x80:  # GNU base-256, for members of 8 GiB and more
        return int.from_bytes(raw[1:], "big")
    return _octal(raw)


def _octal(raw: bytes) -> int:
    try:
        return int(raw.strip(b" \0") or b"0", 8)
    except ValueError:
        raise ArchiveError("not a tar archive: bad number in a header") from None


def check(
    stream: BinaryIO, *, max_bytes: int = CHECK_BYTES, max_members: int = CHECK_MEMBERS
) -> dict[str, Any]:
    """Read the whole archive as a trainer would, and give its meta.json.

    Checks every zstd frame to its end (a decoder gives what it has of a truncated one without a word), the
    frames' checksums, every tar header, the end-of-archive mark, and that there is a meta.json.

    Raises:
        ArchiveError: the first thing that is wrong.
    """
    stream.seek(0)
    check_frames(stream)
    stream.seek(0)
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(
        stream, read_size=_STEP, read_across_frames=True, closefd=False
    )
    meta: dict[str, Any] | None = None
    try:
        decompressed = Decompressed(reader, max_bytes)
        for number, member in enumerate(members(decompressed)):
            if number >= max_members:
                raise ArchiveError(f"more than {max_members} members")
            if meta is None and is_meta(member):
                meta = parse_meta(decompressed.read(member.size_bytes))
        # What follows the end mark is padding; reading it checks the last frame's checksum.
        while reader.read(_STEP):
            pass
    except zstandard.ZstdError as exc:
        raise ArchiveError(f"not a zstd frame that can be read: {exc}") from None
    if meta is None:
        raise ArchiveError(f"no {META_NAME} in the archive")
    return meta


def is_zstd(first_bytes: bytes) -> bool:
    """Whether a file that begins so is a zstd frame (RFC 8878 §3.1.1), skippable or not."""
    magic = int.from_bytes(first_bytes[:4], "little")
    return len(first_bytes) >= 4 and (magic == _ZSTD_MAGIC or magic & ~0xF == _SKIPPABLE_MAGIC)


def check_frames(stream: BinaryIO) -> None:
    """Walk over the frames' blocks (RFC 8878 §3.1.1) without decoding them; the file must end with one.

    Raises:
        CutShort: it ends within one, as a file does that is still being written.
        ArchiveError: it is something else.
    """
    frames = 0
    while first := stream.read(4):
        if not is_zstd(first):
            raise ArchiveError(
                "not a zstd frame" if frames == 0 else "there is something behind the last frame"
            )
        if int.from_bytes(first, "little") == _ZSTD_MAGIC:
            _skip_frame(stream)
        else:
            _skip(stream, int.from_bytes(_exactly(stream, 4), "little"))
        frames += 1
    if frames == 0:
        raise CutShort("the file is empty")


def _skip_frame(stream: BinaryIO) -> None:
    descriptor = _exactly(stream, 1)[0]
    single_segment = bool(descriptor & 0x20)
    content_size = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    _skip(stream, (0 if single_segment else 1) + dictionary_id + content_size)
    last = False
    while not last:
        header = int.from_bytes(_exactly(stream, 3), "little")
        last = bool(header & 1)
        is_rle = header >> 1 & 3 == 1
        _skip(stream, 1 if is_rle else header >> 3)
    if descriptor & 0x04:
        _skip(stream, 4)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise CutShort("the last zstd frame is cut short")
    return data


def _skip(stream: BinaryIO, size: int) -> None:
    if size > 0:
        # A seek would go beyond the end without a word.
        stream.seek(size - 1, 1)
        _exactly(stream, 1)

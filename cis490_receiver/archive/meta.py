"""An archive's ``meta.json``: find it, read it, and see on the way whether the whole archive can be read."""

from __future__ import annotations

import codecs
from typing import Any, BinaryIO, Final

from cis490_receiver import i_json
from cis490_receiver.archive.frames import check_frames, size_of
from cis490_receiver.archive.limits import CPU_TIME, SEARCH, ArchiveError, Clock, Limits, for_whole
from cis490_receiver.archive.tar import Member, Walk

META_NAME: Final = "meta.json"
META_MAX_BYTES: Final = 1 << 20


def read_meta(stream: BinaryIO, *, limits: Limits = SEARCH, clock: Clock = CPU_TIME) -> dict[str, Any]:
    """The JSON object in the archive's ``meta.json``, which stands at the top level or in one folder.

    Reads `stream` (compressed) no further than needed: KBs when ``meta.json`` comes first.

    Raises:
        ArchiveError: there is none, it is not a JSON object, the archive is damaged, or a limit is reached.
    """
    walk = Walk(stream, limits, clock)
    for member in walk:
        if is_meta(member):
            return parse_meta(walk.content())
    raise ArchiveError(f"no {META_NAME} in the archive")


def check(stream: BinaryIO, *, limits: Limits | None = None, clock: Clock = CPU_TIME) -> dict[str, Any]:
    """Read the whole archive as a trainer would, and give its meta.json. `limits`, where it is None, is
    `for_whole` of its size.

    Checks every zstd frame to its end (a decoder gives what it has of a truncated one without a word), the
    frames' checksums, every tar header, the end-of-archive mark, and that there is a meta.json.

    Raises:
        ArchiveError: the first thing that is wrong.
    """
    limits = limits or for_whole(size_of(stream))
    check_frames(stream, limits=limits, clock=clock)
    stream.seek(0)
    meta: dict[str, Any] | None = None
    walk = Walk(stream, limits, clock)
    for member in walk:
        if meta is None and is_meta(member):
            meta = parse_meta(walk.content())
    walk.finish()
    if meta is None:
        raise ArchiveError(f"no {META_NAME} in the archive")
    return meta


def is_meta(member: Member) -> bool:
    """Whether `member` is the archive's meta.json.

    Raises:
        ArchiveError: it is, and it is too large to be one.
    """
    path = member.name.removeprefix("./")
    if member.kind != "file" or path.rpartition("/")[2] != META_NAME or path.count("/") > 1:
        return False
    if member.size_bytes > META_MAX_BYTES:
        raise ArchiveError(f"{META_NAME} is larger than {META_MAX_BYTES} bytes")
    return True


def parse_meta(text: bytes) -> dict[str, Any]:
    """Read the content of a meta.json: I-JSON, with or without a byte order mark.

    Raises:
        ArchiveError: it is not a JSON object.
    """
    try:
        meta = i_json.loads(text.removeprefix(codecs.BOM_UTF8))
    except ValueError as exc:
        raise ArchiveError(f"{META_NAME} is not JSON that every parser reads: {exc}") from None
    if not isinstance(meta, dict):
        raise ArchiveError(f"{META_NAME} is not a JSON object")
    return meta

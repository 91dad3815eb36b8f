"""An archive's ``meta.json``: find it, read it, and see on the way whether the whole archive can be read."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from cis490_receiver import i_json
from cis490_receiver.archive.frames import Complete, Readable, size_of
from cis490_receiver.archive.limits import CPU_TIME, SEARCH, ArchiveError, Clock, Limits, for_whole
from cis490_receiver.archive.tar import Member, Walk

META_NAME: Final = "meta.json"
META_MAX_BYTES: Final = 1 << 20


class BadMeta(ArchiveError):
    """The archive's meta.json cannot be read as one. The archive itself may be good."""


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
    """`read_whole` the archive that `stream` has from its start on, and give its meta.json. `limits`, where it is
    None, is `for_whole` of its size.

    Raises:
        ArchiveError: the first thing that is wrong, or why there is no meta.json that can be read.
    """
    limits = limits or for_whole(size_of(stream))
    stream.seek(0)
    whole = read_whole(stream, limits, clock)
    if whole.meta is None:
        raise ArchiveError(whole.meta_problem)
    return whole.meta


@dataclass(frozen=True, slots=True)
class Whole:
    """An archive that opens.

    Attributes:
        meta: the object in its meta.json; None where there is none that can be read.
        meta_problem: why there is none.
    """

    meta: dict[str, Any] | None
    meta_problem: str | None = None


def read_whole(stream: Readable, limits: Limits, clock: Clock = CPU_TIME) -> Whole:
    """Read the whole archive as a trainer would, once, from `stream`'s first byte to its end.

    Checks that every zstd frame is complete (a decoder gives what it has of a truncated one without a word), the
    frames' checksums, every tar header, the end-of-archive mark.

    Raises:
        BeyondLimit: a limit was reached first.
        ArchiveError: it does not open; the first thing that is wrong.
    """
    found: Whole | None = None
    walk = Walk(Complete(stream, limits, clock), limits, clock)
    for member in walk:
        if found is None:
            try:
                found = Whole(parse_meta(walk.content())) if is_meta(member) else None
            except BadMeta as exc:
                found = Whole(None, str(exc))
    walk.finish()
    return found or Whole(None, f"no {META_NAME} in the archive")


def is_meta(member: Member) -> bool:
    """Whether `member` is the archive's meta.json.

    Raises:
        BadMeta: it is, and it is too large to be one.
    """
    path = member.name.removeprefix("./")
    if member.kind != "file" or path.rpartition("/")[2] != META_NAME or path.count("/") > 1:
        return False
    if member.size_bytes > META_MAX_BYTES:
        raise BadMeta(f"{META_NAME} is larger than {META_MAX_BYTES} bytes")
    return True


def parse_meta(text: bytes) -> dict[str, Any]:
    """Read the content of a meta.json: I-JSON, with or without a byte order mark.

    Raises:
        BadMeta: it is not a JSON object.
    """
    try:
        meta = i_json.loads(text.removeprefix(codecs.BOM_UTF8))
    except ValueError as exc:
        raise BadMeta(f"{META_NAME} is not JSON that every parser reads: {exc}") from None
    if not isinstance(meta, dict):
        raise BadMeta(f"{META_NAME} is not a JSON object")
    return meta

"""Look into a ``.tar.zst`` without ever extracting it.

A walk over the headers of a decompressed tar stream, each of which is seen once, with a limit on everything that a
hostile file could make endless: the zstd window, the bytes decompressed, the headers, the size of ``meta.json``, the
seconds. Memory is bounded whatever the file says.

`read_meta` reads no further than to ``meta.json``, `read_whole` and `check` read the whole, `look` sees what it can in
a few seconds, `Walk` is for who wants to see each member; `check_frames` only looks whether the last zstd frame is
complete.
"""

from __future__ import annotations

from cis490_receiver.archive.contents import Contents, Problem, look
from cis490_receiver.archive.frames import Readable, check_frames
from cis490_receiver.archive.framing import is_zstd
from cis490_receiver.archive.limits import (
    CPU_TIME,
    SEARCH,
    ArchiveError,
    BeyondLimit,
    Clock,
    CutShort,
    Limits,
    TooLong,
    TooManyBytes,
    TooManyHeaders,
    for_whole,
)
from cis490_receiver.archive.meta import (
    META_MAX_BYTES,
    META_NAME,
    Whole,
    check,
    is_meta,
    parse_meta,
    read_meta,
    read_whole,
)
from cis490_receiver.archive.tar import Member, Walk

__all__ = [
    "CPU_TIME",
    "META_MAX_BYTES",
    "META_NAME",
    "SEARCH",
    "ArchiveError",
    "BeyondLimit",
    "Clock",
    "Contents",
    "CutShort",
    "Limits",
    "Member",
    "Problem",
    "Readable",
    "TooLong",
    "TooManyBytes",
    "TooManyHeaders",
    "Walk",
    "Whole",
    "check",
    "check_frames",
    "for_whole",
    "is_meta",
    "is_zstd",
    "look",
    "parse_meta",
    "read_meta",
    "read_whole",
]

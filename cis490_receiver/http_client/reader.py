"""Many GETs of one receiver: over connections that are kept, their bodies read piece by piece."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import threading
from collections.abc import Mapping
from typing import Final

from cis490_receiver.http_client import failures
from cis490_receiver.http_client.connection import connect, named_failures
from cis490_receiver.http_client.endpoint import Endpoint
from cis490_receiver.http_client.exchange import Answer, ask
from cis490_receiver.http_client.many import Many

_NOTHING: Final[Mapping[str, str]] = {}
#: A server, or a proxy, may close a kept connection at any moment (RFC 9112 §9.3.1).
_WAS_CLOSED: Final = (ConnectionError, ssl.SSLEOFError)


class Body:
    """An answer whose body is still to be read, by the thread that asked.

    Attributes:
        status, headers: of the answer.
        begins_at: the offset, in what was asked for, of its first byte.
    """

    def __init__(self, answer: Answer, endpoint: Endpoint) -> None:
        self.status = answer.status
        self.headers = answer.msg
        self.begins_at = _first_byte(answer) if answer.status == 206 else 0
        self._answer = answer
        self._endpoint = endpoint
        self._failed = False

    @property
    def length(self) -> int | None:
        """How many bytes are still to come; None where that was not announced."""
        return self._answer.length

    @property
    def leaves_its_connection(self) -> bool:
        """Whether it was read to its end, so that the next request may use the connection."""
        return self._answer.isclosed() and not self._answer.will_close and not self._failed

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            TransportFailed: it ended early, or nothing came for too long.
        """
        try:
            with named_failures(self._endpoint):
                piece = self._answer.read(size)
                if size and not piece and self._answer.length:
                    raise ConnectionError("it ended early")
        except failures.TransportFailed:
            self._failed = True
            raise
        return piece

    def close(self) -> None:
        """Read no more of it."""
        self._answer.close()


class Line:
    """A receiver that is read from over one connection, which is kept between questions; for one thread at a time."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str] = _NOTHING) -> None:
        self._endpoint = endpoint
        self._headers = {"Accept-Encoding": "identity", **headers}
        self._connection: http.client.HTTPConnection | None = None
        self._body: Body | None = None

    def get(self, path: str, headers: Mapping[str, str] = _NOTHING) -> Body:
        """Ask for `path`. What was asked for before need not have been read to its end.

        Raises:
            TransportFailed: no answer was had.
        """
        kept = self._kept()
        if kept is not None:
            with contextlib.suppress(*_WAS_CLOSED):
                return self._ask(kept, path, headers)
            self.drop()
        self._connection = connect(self._endpoint)
        with named_failures(self._endpoint):
            return self._ask(self._connection, path, headers)

    def go_on(self, path: str, begin: int, etag: str) -> Body:
        """Ask for what follows the first `begin` bytes of `path`, if it is still what `etag` names (RFC 9110 §13.1.5);
        `Body.begins_at` tells whether it is that or the whole.

        Raises:
            TransportFailed: no answer was had, or not to this question.
        """
        body = self.get(path, {"Range": f"bytes={begin}-", "If-Range": etag} if begin else {})
        if body.status == 206 and body.begins_at != begin:
            self.drop()
            raise failures.ReceiverFailed(
                f"asked for what follows byte {begin}, the receiver sent what follows byte {body.begins_at}",
                self._endpoint.wording.later,
            )
        return body

    def drop(self) -> None:
        """Close the connection: the next request makes a new one."""
        if self._body is not None:
            self._body.close()
        if self._connection is not None:
            self._connection.close()
        self._connection = self._body = None

    def settle(self) -> None:
        """Close the connection unless it can be used again: what was asked for last was read to its end."""
        if self._connection is not None and (self._body is None or not self._body.leaves_its_connection):
            self.drop()

    def _kept(self) -> http.client.HTTPConnection | None:
        self.settle()
        return self._connection

    def _ask(self, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]) -> Body:
        self._body = None
        answer = ask(
            connection,
            "GET",
            self._endpoint.path + path,
            {**self._headers, **headers},
            None,
            answer_seconds=self._endpoint.idle_seconds,
        )
        self._body = Body(answer, self._endpoint)
        return self._body


class Reader:
    """A receiver that is read from: one connection for each thread that asks."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str] = _NOTHING) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._local = threading.local()

    def get(self, path: str, headers: Mapping[str, str] = _NOTHING) -> Body:
        """See `Line.get`; what this thread asked for before need not have been read to its end."""
        return self._line().get(path, headers)

    def go_on(self, path: str, begin: int, etag: str) -> Body:
        """See `Line.go_on`."""
        return self._line().go_on(path, begin, etag)

    def drop(self) -> None:
        """Close this thread's connection: the next request makes a new one."""
        self._line().drop()

    def new_line(self) -> Line:
        """A connection for whoever wants to hold it himself."""
        return Line(self._endpoint, self._headers)

    def new_many(self, connections: int) -> Many:
        """Many small questions at once, over so many connections."""
        return Many(self._endpoint, {"Accept-Encoding": "identity", **self._headers}, connections)

    def _line(self) -> Line:
        line: Line | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = self.new_line()
        return line


def _first_byte(answer: Answer) -> int:
    """Where a part begins (RFC 9110 §14.4); -1 where that is not said."""
    found = re.match(r"bytes (\d{1,18})-", answer.msg.get("Content-Range", ""))
    return int(found[1]) if found else -1

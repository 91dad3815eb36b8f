"""A receiver as a dataset reads it: connections that are kept between episodes, whichever thread reads them."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cis490_receiver.http_client.endpoint import Wording
from cis490_receiver.http_client.many import Many
from cis490_receiver.http_client.reader import Body, Line
from cis490_receiver.trainer.remote import Remote

#: How many are kept while nobody uses them.
_IDLE: Final = 16
_WORDING: Final = Wording(
    change="give",
    url="the URL",
    ca_file="ca_file=",
    cert="cert=",
    key="key=",
    certificate_refused="check cert= and key= (`openssl x509 -noout -enddate -in FILE` says when a certificate ends); "
    "have the maintainer sign a new one",
    later="try again later; tell whoever runs the receiver if it lasts",
)


@dataclass(frozen=True, slots=True)
class Access:
    """Where a receiver is, and what is shown to it. Can be pickled; its text does not tell the token."""

    url: str
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate: tuple[Path, Path] | None = None

    def remote(self) -> Remote:
        """The receiver.

        Raises:
            MirrorFailed, CaFileUnusable, CertificateUnusable: as `Remote`.
        """
        return Remote(
            self.url,
            self.token,
            ca_file=self.ca_file,
            certificate=self.certificate,
            wording=_WORDING,
            token_option="token=",  # noqa: S106 - a name
        )


class Lines:
    """Connections to take and to give back; safe for threads. A process that was forked off makes its own: two that
    read from one connection would each get half."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._begin([])

    def _begin(self, idle: list[Line]) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle = idle
        self._remote = self._access.remote()
        weakref.finalize(self, _drop_all, idle)

    @property
    def url(self) -> str:
        """Where the receiver is, without a slash at its end."""
        return self._access.url.rstrip("/")

    def take(self) -> Line:
        """A connection; for one thread at a time."""
        self._notice_fork()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._remote.new_line()

    def give_back(self, line: Line) -> None:
        """It is not used any more."""
        line.settle()
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(line)
                return
        line.drop()

    def new_many(self, connections: int) -> Many:
        """Many small questions at once, over so many connections of their own."""
        self._notice_fork()
        return self._remote.new_many(connections)

    def permitted(self, body: Body) -> Body:
        """See `Remote.permitted`."""
        return self._remote.permitted(body)

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            _drop_all(self._idle)
            self._begin([])

    def __reduce__(self) -> tuple[type[Lines], tuple[Access]]:
        return Lines, (self._access,)


def _drop_all(idle: list[Line]) -> None:
    while idle:
        with contextlib.suppress(OSError):
            idle.pop().drop()

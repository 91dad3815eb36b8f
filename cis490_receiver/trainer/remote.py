"""A receiver, as a trainer's machine reads it."""

from __future__ import annotations

import http.client
import ssl
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cis490_receiver.errors import ReceiverError

_TIMEOUT: Final = 60.0


class MirrorFailed(ReceiverError):
    """The mirror cannot go on; the message says what to do."""

    code = "mirror-failed"


class Remote:
    """A receiver, over one connection a thread."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """Read from `url`, whose server certificate `ca_file` vouches for, as the client whose certificate and
        key files `certificate` are."""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise MirrorFailed(
                f"{url} is not the address of a receiver; give http://HOST:PORT or https://HOST"
            )
        self._parts = parts
        self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        if self._context is not None and certificate is not None:
            self._context.load_cert_chain(*certificate)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._local = threading.local()

    def get(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """A response, its body still to be read.

        Raises:
            MirrorFailed: the token is refused.
            OSError, HTTPException: the connection failed.
        """
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        try:
            connection.request("GET", self._parts.path.rstrip("/") + path, headers=self._headers | headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException):
            self.drop()
            raise
        if response.status in (401, 403):
            response.read()
            raise MirrorFailed(
                f"the receiver refused the token ({response.status}); give one that may read with --token-file"
            )
        return response

    def drop(self) -> None:
        """Close this thread's connection: the next request makes a new one."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _connect(self) -> http.client.HTTPConnection:
        host = self._parts.hostname or ""
        if self._context is not None:
            return http.client.HTTPSConnection(
                host, self._parts.port, timeout=_TIMEOUT, context=self._context
            )
        return http.client.HTTPConnection(host, self._parts.port, timeout=_TIMEOUT)

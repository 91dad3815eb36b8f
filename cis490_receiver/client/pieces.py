"""A large file on its way in pieces: what breaks goes on where it was (tus 1.0.0; docs/http.md).

The receiver keeps what came of a request that was cut off. So the file is made known to it once, its bytes are sent in
one request, and whenever that breaks it is asked how far it came. Where it is to be asked is remembered beside the
file, so that a shipper that starts anew, or a machine that was off, goes on too. A receiver that offers no such thing,
or a proxy before it that lets no such thing through, gets the file as a whole.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from cis490_receiver import errors, protocol
from cis490_receiver.client.transport import Transport
from cis490_receiver.http_client import exchange, failures
from cis490_receiver.http_client.reply import Reply
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

#: How often in a row an upload may break without a byte of progress before the receiver is left alone.
_TRIES: Final = 3
#: How long an offer, or that there is none, is believed.
_OFFER_SECONDS: Final = 3600.0
_TUS: Final = {"Tus-Resumable": protocol.TUS_VERSION}
#: What the receiver says of requests that this program does not send.
_SPOILT: Final = frozenset(
    {
        errors.UnsupportedTusVersion.code,
        errors.BadUploadHeader.code,
        errors.BadContentType.code,
        errors.UploadOverrun.code,
    }
)
#: The receiver does not know the upload, or not any more.
_GONE: Final = frozenset({404, 410})
#: With these it has ended, one way or the other.
_ENDED: Final = _GONE | {200, 201, 400, 409, 412, 422}
#: This try came to nothing, and the next one may be better at once.
_ONCE_MORE: Final = frozenset({"offset-mismatch", "upload-locked", "body-timeout", "body-truncated"})
#: How long an upload is left alone at most that another request has.
_LOCKED_SECONDS: Final = 5.0
#: There is no way for uploads in pieces after all.
_NO_WAY: Final = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload that was begun.

    Attributes:
        receiver: the address of the receiver that knows it.
        location: its path there.
        sha256: the digest of the file.
        offset: how many bytes the receiver had when it was asked last.
    """

    receiver: str
    location: str
    sha256: str
    offset: int = 0


class Memory(Protocol):
    """Where an upload of one file is remembered."""

    def recall(self) -> Begun | None:
        """What was remembered; None where nothing is, or the file is another one by now."""
        ...

    def remember(self, begun: Begun | None) -> None:
        """Remember `begun` in place of what was; nothing, when None."""
        ...


class Forgetful:
    """See `Memory`: for as long as the object lives."""

    def __init__(self) -> None:
        self._begun: Begun | None = None

    def recall(self) -> Begun | None:
        """See `Memory.recall`."""
        return self._begun

    def remember(self, begun: Begun | None) -> None:
        """See `Memory.remember`."""
        self._begun = begun


class Pieces:
    """Ships files by one transport, large ones in pieces."""

    def __init__(self, transport: Transport, sleep: Callable[[float], object] = time.sleep) -> None:
        self._transport = transport
        self._sleep = sleep
        self._offered: tuple[float, bool] | None = None

    def put_file(
        self,
        path: Path,
        url_path: str,
        headers: Mapping[str, str],
        *,
        memory: Memory | None = None,
        sent: exchange.Sent = lambda _bytes: None,
    ) -> Reply:
        """Ship the file `path`; the answer is that to a PUT of it. `sent` is told of what is there already, too.

        Raises:
            TransportFailed, FileChanged, FileUnreadable, OSError: as `Transport.put_file`.
        """
        with open(path, "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            least = self._transport.host.resume_from_bytes
            if not least or before.st_size < least or not self._is_offered():
                return self._transport.put_file(path, url_path, headers, sent=sent)
            upload = _Upload(
                self._transport,
                stream,
                before.st_size,
                url_path,
                headers,
                memory or Forgetful(),
                sent,
                self._sleep,
            )
            reply = upload.run()
            after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise failures.FileChanged
        if (reply.status in _NO_WAY and not reply.says("code")) or reply.says("code") in _SPOILT:
            # Something before the receiver does not let it through, or not as it was sent.
            self._offered = (time.monotonic(), False)
            return self._transport.put_file(path, url_path, headers, sent=sent)
        return reply

    def _is_offered(self) -> bool:
        if self._offered is None or time.monotonic() - self._offered[0] > _OFFER_SECONDS:
            reply = self._transport.request("OPTIONS", protocol.UPLOADS_PATH)
            versions = [word.strip() for word in reply.headers.get("Tus-Version", "").split(",")]
            self._offered = (
                time.monotonic(),
                reply.status in (200, 204) and protocol.TUS_VERSION in versions,
            )
        return self._offered[1]


class _Upload:
    """One file on its way."""

    def __init__(
        self,
        transport: Transport,
        stream: FileIO,
        size_bytes: int,
        url_path: str,
        headers: Mapping[str, str],
        memory: Memory,
        sent: exchange.Sent,
        sleep: Callable[[float], object],
    ) -> None:
        self._transport = transport
        self._stream = stream
        self._size_bytes = size_bytes
        self._url_path = url_path
        self._headers = headers
        self._sha256 = headers[protocol.HEADER_SHA256]
        self._memory = memory
        self._sent = sent
        self._sleep = sleep
        #: What `sent` was told of.
        self._told = 0

    def run(self) -> Reply:
        """Begin, or go on, until there is an answer."""
        begun = self._memory.recall()
        receiver = self._transport.host.receiver_url
        if begun is not None and (begun.receiver, begun.sha256) == (receiver, self._sha256):
            reply = self._ask(begun.location)
            if reply.status not in _GONE:
                return self._go_on(begun, reply)
            self._memory.remember(None)
        reply = self._create()
        location = reply.headers.get("Location", "")
        if reply.status != 201 or not location.startswith(f"{protocol.UPLOADS_PATH}/"):
            return reply
        begun = Begun(receiver, location, self._sha256)
        self._memory.remember(begun)
        return self._go_on(begun, reply)

    def _create(self) -> Reply:
        _, _, host_id, name = self._url_path.rsplit("/", 3)
        said = {"host_id": host_id, "episode_id": name.removesuffix(protocol.EPISODE_SUFFIX)}
        metadata = ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in said.items())
        more = _TUS | {"Upload-Length": str(self._size_bytes), "Upload-Metadata": metadata}
        return self._transport.request("POST", protocol.UPLOADS_PATH, headers={**self._headers, **more})

    def _ask(self, location: str) -> Reply:
        return self._transport.request("GET", location, headers=_TUS)

    def _go_on(self, begun: Begun, reply: Reply) -> Reply:
        """Send what is missing, as `reply` tells, until there is an answer to the whole."""
        tries, best = _TRIES, -1
        while (answer := self._answer(reply)) is None:
            offset = _offset(reply, self._size_bytes)
            tries = _TRIES if offset > best else tries - 1
            best = max(best, offset)
            self._note(begun, offset)
            reply = self._send_and_ask(begun.location, offset, last=tries <= 1)
        if answer.status in _ENDED:
            self._memory.remember(None)
        return answer

    def _send_and_ask(self, location: str, offset: int, *, last: bool) -> Reply:
        """The answer to the bytes from `offset` on; where that came to nothing, how far the upload is now."""
        try:
            reply = self._send(location, offset)
        except failures.TransportFailed as exc:
            if last or not exc.may_pass:
                raise
            log.warning(event("cut", offset=offset, size=self._size_bytes, reason=exc.message))
            return self._ask(location)
        if reply.says("code") not in _ONCE_MORE or last:
            return reply
        if reply.says("code") == "upload-locked":
            self._sleep(min(reply.retry_after_seconds or 1.0, _LOCKED_SECONDS))
        return self._ask(location)

    def _answer(self, reply: Reply) -> Reply | None:
        """The answer to a PUT that `reply` stands for; None where more is to be sent."""
        if reply.status not in (200, 201, 204):
            return reply
        status = reply.headers.get("X-Episode-Status", "")
        if not status:
            return None
        receipt = {
            "status": status,
            "sha256": protocol.sha256_of_repr_digest(reply.headers.get("Repr-Digest", "")) or "",
        }
        if status == "stored":
            return Reply(201, reply.headers, {**receipt, "size_bytes": self._size_bytes})
        return Reply(200, reply.headers, receipt)

    def _note(self, begun: Begun, offset: int) -> None:
        if offset:
            log.info(event("resumed", location=begun.location[-32:-24], offset=offset, size=self._size_bytes))
        self._memory.remember(Begun(begun.receiver, begun.location, begun.sha256, offset))
        self._sent(offset - self._told)
        self._told = offset

    def _send(self, location: str, offset: int) -> Reply:
        self._stream.seek(offset)
        headers = _TUS | {"Upload-Offset": str(offset), "Content-Type": protocol.TUS_MEDIA_TYPE}
        body = exchange.Upload(self._stream, self._size_bytes - offset, announced=True, sent=self._tell)
        return self._transport.send_file("PATCH", location, headers, body)

    def _tell(self, count: int) -> None:
        self._told += count
        self._sent(count)


def _offset(reply: Reply, size_bytes: int) -> int:
    text = reply.headers.get("Upload-Offset", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) <= size_bytes):
        raise failures.ReceiverFailed(
            "the receiver does not say how far the upload came", "tell the maintainer"
        )
    return int(text)

"""Every request of a lab host to its receiver: token, timeouts, retries.

One connection a request: an episode takes seconds to hours, and a connection that was kept is one that a proxy may just
be closing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.client.config import LabHost
from cis490_receiver.configuration.token import read_token
from cis490_receiver.errors import CommitRejected, HostMismatch, MalformedCommit, MissingCommit, ScopeMissing
from cis490_receiver.http_client import connection, exchange, failures
from cis490_receiver.http_client.backoff import MAX_WAIT_SECONDS, Backoff
from cis490_receiver.http_client.endpoint import Endpoint, Wording
from cis490_receiver.http_client.reply import TRANSIENT, Reply, json_object

#: From this size on, a body is announced and preceded by questions that cost nothing.
LARGE_BYTES: Final = 1 << 20
#: How long the answer to a whole body may take: several GB are synced to a slow disk.
STORE_SECONDS: Final = 600.0
WORDING: Final = Wording(
    change="set",
    url="receiver_url",
    ca_file="ca_file",
    cert="client_cert",
    key="client_key",
    certificate_refused="check client_cert and client_key: `cis490-doctor` says when the certificate ends; have the "
    "maintainer sign a new one",
    later="wait: the shipper tries again by itself; tell the maintainer if it lasts",
)
#: Remedies.
_RIGHT_HOST: Final = (
    "set host_id to the name that certificate and token were made for, or have the maintainer make ones for this "
    "host"
)
_AS_GIVEN: Final = "put the token that the maintainer gave this host into token_file; nothing else in it"
_OF_A_COMMIT: Final = frozenset({MissingCommit.code, MalformedCommit.code, CommitRejected.code})


class Transport:
    """The way to the receiver that a `LabHost` describes."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.endpoint = endpoint_of(host)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """One request with the token and this host's name.

        Raises:
            TransportFailed: no answer was had; the class says at which stage.
        """
        return self._exchange(method, path, headers or {}, body, self.host.idle_seconds)

    def put_json(self, path: str, document: object, *, attempts: int = 5) -> Reply:
        """PUT a JSON document, trying again while the receiver says "not now".

        Raises:
            TransportFailed: the last try had no answer.
        """
        body = json.dumps(document).encode("ascii")
        headers = {"Content-Type": "application/json"}
        return self.persist(lambda: self.request("PUT", path, headers=headers, body=body), attempts=attempts)

    def persist(
        self,
        send: Callable[[], Reply],
        *,
        attempts: int,
        backoff: Backoff | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Reply:
        """Call `send` until it has an answer that is not "not now", `attempts` times at most.

        Raises:
            TransportFailed: the last try had no answer.
        """
        backoff = backoff or Backoff(max_seconds=30)
        for left in range(attempts - 1, -1, -1):
            wait = None
            try:
                reply = send()
                if reply.status not in TRANSIENT or not left:
                    return reply
                wait = reply.retry_after_seconds
            except failures.TransportFailed as exc:
                if not left or not exc.may_pass:
                    raise
            sleep(min(backoff.next_seconds(wait), MAX_WAIT_SECONDS))
        raise AssertionError("unreachable")

    def ping(self, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask whether the receiver is there and, with the headers of a PUT, whether it would take it.

        Raises:
            TransportFailed: no answer was had.
        """
        return self.request("POST", f"{protocol.API_PREFIX}/ping", headers=headers)

    def ask_leave(self) -> Reply:
        """Ask whether the receiver is there and takes anything from this host; an orchestrator's commit is not asked
        about.

        Raises:
            TransportFailed: it is not, or does not; the class says at which stage.
        """
        reply = self.ping({protocol.HEADER_SCHEMA_VERSION: str(protocol.SCHEMA_VERSION)})
        answer = reply.json or {}
        if reply.status != 200 or answer.get("ok") is not True:
            raise receiver_failed(reply)
        if answer.get("would_accept") is False and reply.says("code") not in _OF_A_COMMIT:
            raise receiver_failed(reply)
        return reply

    def put_file(
        self,
        path: Path,
        url_path: str,
        headers: Mapping[str, str],
        *,
        sent: exchange.Sent = lambda _bytes: None,
    ) -> Reply:
        """PUT the file `path`, which `headers` describe, as it is on the disk, in bounded memory.

        A large one is preceded by two questions: is it there, would it be taken? Where they foretell an answer that
        needs no body, the PUT is sent without one, which costs nothing through any proxy: the receiver counts and
        words the refusal, or gives the receipt, as for the whole; should it be willing after all, an empty body does
        not match the digest and stores nothing.

        Raises:
            TransportFailed: no answer was had.
            FileChanged: the file was written to meanwhile.
            FileUnreadable, OSError: it cannot be read.
        """
        with open(path, "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            large = before.st_size >= LARGE_BYTES
            if large and self._is_needless(url_path, headers):
                reply = self.request("PUT", url_path, headers=headers, body=b"")
                if reply.says("status") != "sha-mismatch":
                    return reply
            upload = exchange.Upload(stream, before.st_size, announced=large, sent=sent)
            reply = self._exchange("PUT", url_path, headers, upload, STORE_SECONDS)
            after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise failures.FileChanged
        return reply

    def send_file(
        self, method: str, url_path: str, headers: Mapping[str, str], upload: exchange.Upload
    ) -> Reply:
        """One request whose body is read from a file.

        Raises:
            TransportFailed, FileChanged, FileUnreadable: as `put_file`.
        """
        return self._exchange(method, url_path, headers, upload, STORE_SECONDS)

    def _is_needless(self, url_path: str, headers: Mapping[str, str]) -> bool:
        """Whether a PUT of this would be answered without its body: it is there, or would be refused."""
        if self.request("HEAD", url_path).status == 200:
            return True
        answer = self.ping(headers)
        return answer.status == 200 and (answer.json or {}).get("would_accept") is False

    def connect(self) -> http.client.HTTPConnection:
        """See `connection.connect`."""
        return connection.connect(self.endpoint)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | exchange.Upload | None,
        answer_seconds: float,
    ) -> Reply:
        full = {**self._identity(), **headers}
        opened = self.connect()
        with connection.named_failures(self.endpoint), contextlib.closing(opened):
            raw = exchange.exchange(
                opened, method, self.endpoint.path + path, full, body, answer_seconds=answer_seconds
            )
        return Reply(raw.status, raw.headers, json_object(raw.body))

    def _identity(self) -> dict[str, str]:
        identity = {protocol.HEADER_LAB_HOST: self.host.host_id, "User-Agent": "cis490-lab-host"}
        token = self.token()
        return identity | ({"Authorization": f"Bearer {token}"} if token else {})

    def token(self) -> str | None:
        """The token, read anew each time, so that a changed one needs no restart.

        Raises:
            TokenRefused: token_file cannot be used.
        """
        path = self.host.token_file
        if path is None:
            return None
        try:
            return read_token(path)
        except OSError as exc:
            raise failures.TokenRefused(
                f"token_file {path} cannot be read: {failures.reason(exc)}", _AS_GIVEN
            ) from exc
        except ValueError as exc:
            raise failures.TokenRefused(f"token_file: the content of {path} {exc}", _AS_GIVEN) from None


def receiver_failed(reply: Reply) -> failures.TransportFailed:
    """The failure that an answer other than the hoped for means."""
    said = reply.says("error") or "an answer without a JSON object"
    code = reply.says("code")
    if code == HostMismatch.code:
        return failures.HostRefused(f"the receiver refuses this host: {said}", _RIGHT_HOST)
    if code == ScopeMissing.code or reply.status in (401, 403):
        return failures.TokenRefused(
            f"the receiver refuses the token ({code or reply.status}: {said})", _AS_GIVEN
        )
    remedy = WORDING.later
    if reply.json is None or reply.status in (404, 421):
        remedy = "check receiver_url: something else than the receiver answers there"
    return failures.ReceiverFailed(
        f"the receiver says {code or reply.status}: {said}",
        remedy,
        retry_after_seconds=reply.retry_after_seconds,
    )


def endpoint_of(host: LabHost) -> Endpoint:
    """The receiver that `host` ships to."""
    interface = host.wireguard_interface
    return Endpoint(
        url=host.receiver_url,
        wording=WORDING,
        ca_file=host.ca_file,
        client_cert=host.client_cert,
        client_key=host.client_key,
        connect_seconds=host.connect_seconds,
        idle_seconds=host.idle_seconds,
        wireguard_interface="" if interface == "none" else interface,
    )

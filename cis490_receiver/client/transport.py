"""Every request of a lab host to its receiver: TLS, certificate, token, timeouts, retries.

One connection a request: an episode takes seconds to hours, and a connection that was kept is one that a proxy may just
be closing.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import math
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cis490_receiver import protocol
from cis490_receiver.client import failures, wire
from cis490_receiver.client.config import LabHost
from cis490_receiver.errors import CommitRejected, HostMismatch, MalformedCommit, MissingCommit, ScopeMissing

#: From this size on, a body is announced and preceded by questions that cost nothing.
LARGE_BYTES: Final = 1 << 20
#: How long the answer to a whole body may take: several GB are synced to a slow disk.
STORE_SECONDS: Final = 600.0
MAX_WAIT_SECONDS: Final = 900.0
#: Statuses that say "not now": another try may go better.
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_OF_A_COMMIT: Final = frozenset({MissingCommit.code, MalformedCommit.code, CommitRejected.code})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        json: its body, where that is a JSON object.
    """

    status: int
    headers: http.client.HTTPMessage
    json: dict[str, Any] | None

    @property
    def retry_after_seconds(self) -> float | None:
        """What ``Retry-After`` asks for, as a number or a date (RFC 9110 §10.2.3)."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        return None

    def says(self, name: str) -> str:
        """A text of the answer's JSON; empty where it has none."""
        value = (self.json or {}).get(name)
        return value if isinstance(value, str) else ""


class Backoff:
    """How long to wait after each failure in a row: doubling, with jitter, so that a fleet whose receiver
    comes back does not come back all at once."""

    def __init__(
        self,
        *,
        first_seconds: float = 1.0,
        max_seconds: float = MAX_WAIT_SECONDS,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._first = first_seconds
        self._max = max_seconds
        self._rng = rng
        self._failures = 0

    def reset(self) -> None:
        """Something went well."""
        self._failures = 0

    def next_seconds(self, retry_after: float | None = None) -> float:
        """The wait after one more failure: never shorter than `retry_after`, as far as that is sensible."""
        ceiling = min(self._max, self._first * math.pow(2, min(self._failures, 30)))
        self._failures += 1
        wait = ceiling / 2 + self._rng() * ceiling / 2
        if retry_after is None:
            return wait
        # Hosts that are told the same number must not keep it to the second.
        return max(wait, min(retry_after, 86400.0) * (1 + self._rng() / 4))


class Transport:
    """The way to the receiver that a `LabHost` describes."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self._parts = urlsplit(host.receiver_url)

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
            except (failures.TcpFailed, failures.DnsFailed, failures.ReceiverFailed):
                if not left:
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
        sent: wire.Sent = lambda _bytes: None,
    ) -> Reply:
        """PUT the file `path`, which `headers` describe, as it is on the disk, in bounded memory.

        A large one is preceded by two questions: is it there, would it be taken? Where they foretell an answer that
        needs no body, the PUT is sent without one, which costs nothing through any proxy: the receiver counts and
        words the refusal, or gives the receipt, as for the whole; should it be willing after all, an empty body does
        not match the digest and stores nothing.

        Raises:
            TransportFailed: no answer was had.
            FileChanged: the file was written to meanwhile.
            OSError: it cannot be read.
        """
        with open(path, "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            large = before.st_size >= LARGE_BYTES
            if large and self._is_needless(url_path, headers):
                reply = self.request("PUT", url_path, headers=headers, body=b"")
                if reply.says("status") != "sha-mismatch":
                    return reply
            upload = wire.Upload(stream, before.st_size, announced=large, sent=sent)
            reply = self._exchange("PUT", url_path, headers, upload, STORE_SECONDS)
            after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise failures.FileChanged
        return reply

    def _is_needless(self, url_path: str, headers: Mapping[str, str]) -> bool:
        """Whether a PUT of this would be answered without its body: it is there, or would be refused."""
        if self.request("HEAD", url_path).status == 200:
            return True
        answer = self.ping(headers)
        return answer.status == 200 and (answer.json or {}).get("would_accept") is False

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is open, its TLS handshake done.

        Raises:
            DnsFailed, TcpFailed, TlsFailed, CertificateRefused: how far it came.
        """
        connection = self._new_connection()
        try:
            sock = self._open(connection.host, connection.port)
        except BaseException:
            connection.close()
            raise
        connection.sock = sock
        return connection

    def _new_connection(self) -> http.client.HTTPConnection:
        name = self._parts.hostname or ""
        kind = http.client.HTTPSConnection if self.is_tls else http.client.HTTPConnection
        return kind(name, self._parts.port)

    @property
    def is_tls(self) -> bool:
        """Whether the receiver is spoken to over TLS."""
        return self._parts.scheme == "https"

    def _open(self, name: str, port: int) -> socket.socket:
        context = self.tls_context() if self.is_tls else None
        try:
            plain = socket.create_connection((name, port), self.host.connect_seconds)
        except socket.gaierror as exc:
            raise failures.DnsFailed(f"{name} has no address: {exc.strerror}") from exc
        except OSError as exc:
            reason = exc.strerror or "no answer in time"
            raise failures.TcpFailed(f"cannot connect to {name}, port {port}: {reason}") from exc
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_silence(plain, self.host.idle_seconds)
        plain.settimeout(self.host.idle_seconds)
        if context is None:
            return plain
        plain.settimeout(self.host.connect_seconds)
        try:
            secure = context.wrap_socket(plain, server_hostname=name)
        except OSError as exc:
            plain.close()
            raise _tls_failure(exc, name, has_certificate=self.host.client_cert is not None) from exc
        secure.settimeout(self.host.idle_seconds)
        return secure

    def tls_context(self) -> ssl.SSLContext:
        """What this host trusts and shows.

        Raises:
            TlsFailed: ca_file cannot be used.
            CertificateRefused: client_cert and client_key cannot.
        """
        host = self.host
        try:
            context = ssl.create_default_context(cafile=host.ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise failures.TlsFailed(
                f"ca_file {host.ca_file} cannot be read: {_reason(exc)}",
                "put the authority's certificate (PEM) there, readable by this user",
            ) from exc
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if host.client_cert is not None:
            try:
                context.load_cert_chain(host.client_cert, host.client_key, password=_no_password)
            except (OSError, ValueError) as exc:
                raise failures.CertificateRefused(
                    f"client_cert {host.client_cert} with client_key {host.client_key} cannot be used: "
                    f"{_reason(exc)}",
                    "put the host's certificate and its key (PEM, without a password) there, readable by this user",
                ) from exc
        return context

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | wire.Upload | None,
        answer_seconds: float,
    ) -> Reply:
        full = {**self._identity(), **headers}
        connection = self.connect()
        try:
            with contextlib.closing(connection):
                raw = wire.exchange(
                    connection,
                    method,
                    self._parts.path + path,
                    full,
                    body,
                    answer_seconds=answer_seconds,
                )
        except ssl.SSLError as exc:
            raise _tls_failure(
                exc, connection.host, has_certificate=self.host.client_cert is not None
            ) from exc
        except TimeoutError as exc:
            raise failures.ReceiverFailed("the receiver did not answer in time") from exc
        except (ConnectionError, http.client.HTTPException) as exc:
            raise failures.ReceiverFailed(f"the receiver ended the connection: {_reason(exc)}") from exc
        return Reply(raw.status, raw.headers, _json_object(raw.body))

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
            text = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as exc:
            raise failures.TokenRefused(f"token_file {path} cannot be read: {_reason(exc)}") from exc
        if not text or any(not "!" <= character <= "~" for character in text):
            raise failures.TokenRefused(f"token_file {path} holds no token")
        return text


def receiver_failed(reply: Reply) -> failures.TransportFailed:
    """The failure that an answer other than the hoped for means."""
    said = reply.says("error") or "an answer without a JSON object"
    code = reply.says("code")
    if code == HostMismatch.code:
        return failures.HostRefused(f"the receiver refuses this host: {said}")
    if code == ScopeMissing.code or reply.status in (401, 403):
        return failures.TokenRefused(f"the receiver refuses the token ({code or reply.status}: {said})")
    remedy = None
    if reply.json is None or reply.status in (404, 421):
        remedy = "check receiver_url: something else than the receiver answers there"
    return failures.ReceiverFailed(
        f"the receiver says {code or reply.status}: {said}",
        remedy,
        retry_after_seconds=reply.retry_after_seconds,
    )


def _notice_silence(sock: socket.socket, seconds: int) -> None:
    """Have the kernel end a connection whose other end says nothing at all for `seconds`: no acknowledgement of what it
    was sent, none of a probe while an answer is waited for (tcp(7)). The answer to a whole body may take much longer."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, seconds // 2))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _no_password() -> str:
    raise ValueError("the key is protected by a password")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _reason(exc: Exception) -> str:
    return (
        getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    ).strip()


def _tls_failure(exc: OSError, name: str, *, has_certificate: bool) -> failures.TransportFailed:
    """What a failed handshake, or an alert after it, means. TLS 1.3 tells a client only after the handshake that
    its certificate was refused (RFC 8446 §4.4.2.4)."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        why = exc.verify_message
        if "expired" in why or "not yet valid" in why:
            remedy = (
                "compare this host's clock (`date -u`); if it is right, the receiver's certificate is over"
            )
        elif "mismatch" in why or "match" in why:
            remedy = "say the name in receiver_url that stands in the receiver's certificate"
        else:
            remedy = "put the authority that signed the receiver's certificate into ca_file"
        return failures.TlsFailed(f"the certificate of {name} is not trusted: {why}", remedy)
    reason = _reason(exc)
    if "ALERT" in reason.upper():
        if not has_certificate:
            return failures.CertificateRefused(
                f"{name} wants a client certificate ({reason})", "set client_cert and client_key"
            )
        return failures.CertificateRefused(f"{name} refuses this host's certificate ({reason})")
    return failures.TlsFailed(f"no TLS with {name}: {reason}")

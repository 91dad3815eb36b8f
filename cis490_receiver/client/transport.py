"""Every request of a lab host to its receiver: token, timeouts, retries.

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
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cis490_receiver import i_json, protocol
from cis490_receiver.client import connection, failures, wire
from cis490_receiver.client.config import LabHost
from cis490_receiver.configuration.token import read_token
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
            FileUnreadable, OSError: it cannot be read.
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
        """See `connection.connect`."""
        return connection.connect(self.host)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | wire.Upload | None,
        answer_seconds: float,
    ) -> Reply:
        full = {**self._identity(), **headers}
        opened = self.connect()
        prefix = urlsplit(self.host.receiver_url).path
        try:
            with contextlib.closing(opened):
                raw = wire.exchange(opened, method, prefix + path, full, body, answer_seconds=answer_seconds)
        except ssl.SSLError as exc:
            raise connection.tls_failure(exc, self.host) from exc
        except TimeoutError as exc:
            raise failures.ReceiverFailed("the receiver did not answer in time") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise failures.ReceiverFailed(f"the connection was lost: {connection.reason(exc)}") from exc
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
            return read_token(path)
        except OSError as exc:
            raise failures.TokenRefused(
                f"token_file {path} cannot be read: {connection.reason(exc)}"
            ) from exc
        except ValueError as exc:
            raise failures.TokenRefused(f"token_file: the content of {path} {exc}") from None


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


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = i_json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None

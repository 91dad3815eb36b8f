"""The smoke test of bring-up: how far this host comes on its way to the receiver, and what to do there."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cis490_receiver.client.transport import WORDING, Transport, receiver_failed
from cis490_receiver.http_client import connection, failures
from cis490_receiver.http_client.reply import Reply

STAGES: Final = ("DNS", "TCP", "TLS", "client certificate", "token", "host id", "receiver")
#: How long a refusal of the client certificate may take to arrive after the handshake.
ALERT_SECONDS: Final = 0.5
_PORT_ANSWERS: Final = "port {} answers"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. `ok` is None where it was not come to, or where there is nothing to test."""

    name: str
    ok: bool | None
    seen: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every stage in order.

    Attributes:
        skew_seconds: this host's clock minus the receiver's; None where it was not reached.
    """

    stages: tuple[Stage, ...]
    skew_seconds: float | None = None

    @property
    def failed(self) -> Stage | None:
        """The stage that fails; None when all is well."""
        return next((stage for stage in self.stages if stage.ok is False), None)


def diagnose(transport: Transport) -> Diagnosis:
    """Go as far as it goes."""
    host = transport.host
    accepted = "accepted" if host.token_file else "none is set, and none is asked for"
    seen: dict[str, str] = {}
    try:
        _connect(transport, seen)
        started_ns = time.time_ns()
        reply = transport.ask_leave()
        skew = _skew_seconds(reply, started_ns, time.time_ns())
        if skew is None:
            raise receiver_failed(reply)
    except failures.HostRefused as exc:
        return Diagnosis(tuple(_stages(seen | {"token": accepted}, exc)))
    except failures.TransportFailed as exc:
        return Diagnosis(tuple(_stages(seen, exc)))
    seen["token"] = accepted
    seen["host id"] = f"{host.host_id} may ship"
    seen["receiver"] = f"answers; this host's clock {skew_in_words(skew)}"
    return Diagnosis(tuple(_stages(seen, None)), skew)


def skew_in_words(skew_seconds: float) -> str:
    """How this host's clock stands to the receiver's, as the end of a sentence."""
    if abs(skew_seconds) < 0.05:
        return "agrees with the receiver's"
    return f"is {abs(skew_seconds):.1f} s {'ahead of' if skew_seconds > 0 else 'behind'} the receiver's"


def _resolve(transport: Transport) -> str:
    """What the receiver's name stands for.

    Raises:
        DnsFailed: for nothing.
    """
    name = transport.endpoint.name
    addresses = connection.addresses(transport.endpoint)
    return f"{name} is an address" if addresses == [name] else f"{name} is {', '.join(addresses)}"


def _connect(transport: Transport, seen: dict[str, str]) -> None:
    seen["DNS"] = _resolve(transport)
    with contextlib.closing(_opened(transport, seen)) as opened:
        sock = opened.sock
        if not isinstance(sock, ssl.SSLSocket):
            seen["TLS"] = seen["client certificate"] = "not used (http)"
            return
        seen["TLS"] = f"{sock.version()}, the receiver's certificate is trusted"
        # In TLS 1.3 the handshake is over before the server has looked at the certificate.
        shown = transport.host.client_cert
        remedy = WORDING.certificate_refused if shown else f"{WORDING.change} {WORDING.certificate}"
        _wait_for_alert(sock, remedy)
        seen["client certificate"] = f"{shown} is taken" if shown else "none is set, and none is asked for"


def _opened(transport: Transport, seen: dict[str, str]) -> http.client.HTTPConnection:
    """The connection; what was seen of it even where it fails later."""
    try:
        opened = transport.connect()
    except failures.TcpFailed:
        raise
    except failures.TransportFailed as exc:
        seen["TCP"] = _PORT_ANSWERS.format(transport.endpoint.port)
        if isinstance(exc, failures.CertificateRefused) and not isinstance(exc, failures.CertificateUnusable):
            # The host's certificate is asked for when the receiver's was found good (RFC 8446 §4.4).
            seen["TLS"] = "the receiver's certificate is trusted"
        raise
    seen["TCP"] = _PORT_ANSWERS.format(opened.port)
    return opened


def _wait_for_alert(sock: ssl.SSLSocket, remedy: str) -> None:
    sock.settimeout(ALERT_SECONDS)
    try:
        sock.recv(1)
    except TimeoutError:
        return
    except OSError as exc:
        raise failures.CertificateRefused(
            f"refused after the handshake ({failures.reason(exc)})", remedy
        ) from exc
    raise failures.CertificateRefused("the receiver ended the connection after the handshake", remedy)


def _stages(seen: dict[str, str], failure: failures.TransportFailed | None) -> Iterator[Stage]:
    failed = STAGES.index(failure.stage) if failure else len(STAGES)
    for number, name in enumerate(STAGES):
        if failure and number == failed:
            yield Stage(name, False, failure.message, failure.remedy)
        elif name in seen:
            yield Stage(name, True, seen[name])
        else:
            yield Stage(name, None, "not tested")


def _skew_seconds(reply: Reply, started_ns: int, ended_ns: int) -> float | None:
    """Half-way between question and answer against the receiver's time; None where that was no ping's answer."""
    theirs = (reply.json or {}).get("t_wall_ns")
    if reply.status != 200 or not isinstance(theirs, int):
        return None
    return ((started_ns + ended_ns) // 2 - theirs) / 1e9

"""A connection to the receiver: the host's certificate shown, the receiver's checked, and silence noticed."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from cis490_receiver.client import failures
from cis490_receiver.client.config import LabHost

#: Alerts (RFC 8446 §6.2) that speak of something else than the client's certificate: Go's server says the first of them
#: where it has no certificate for the name that it is asked for.
_NOT_OF_CERTIFICATES: Final = ("INTERNAL_ERROR", "UNRECOGNIZED_NAME", "PROTOCOL_VERSION")


def connect(host: LabHost) -> http.client.HTTPConnection:
    """A connection that is open, its TLS handshake done.

    Raises:
        DnsFailed, TcpFailed, TlsFailed, CertificateRefused: how far it came.
    """
    parts = urlsplit(host.receiver_url)
    name = parts.hostname or ""
    if parts.scheme == "http":
        plain = http.client.HTTPConnection(name, parts.port)
        plain.sock = _open(host, name, plain.port)
        return plain
    # With a context, as the one that it would make for itself takes longer than all the rest.
    secure = http.client.HTTPSConnection(name, parts.port, context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    secure.sock = _secured(host, name, _open(host, name, secure.port))
    return secure


def addresses(name: str) -> list[str]:
    """The addresses of `name`, in the order in which they are tried.

    Raises:
        DnsFailed: it has none.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise failures.DnsFailed(f"{name} has no address: {reason(exc)}") from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _open(host: LabHost, name: str, port: int) -> socket.socket:
    try:
        sock = socket.create_connection((name, port), host.connect_seconds)
    except (socket.gaierror, UnicodeError) as exc:
        raise failures.DnsFailed(f"{name} has no address: {reason(exc)}") from exc
    except OSError as exc:
        why = exc.strerror or "no answer in time"
        raise failures.TcpFailed(f"cannot connect to {name}, port {port}: {why}", _way(host, name)) from exc
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _notice_silence(sock, host.idle_seconds)
    sock.settimeout(host.idle_seconds)
    return sock


def _way(host: LabHost, name: str) -> str:
    """What to look at between this host and a receiver that does not answer."""
    where = "on this machine" if name == "localhost" or name.startswith("127.") or name == "::1" else "there"
    server = "the receiver" if host.receiver_url.startswith("http:") else "the receiver's Caddy"
    look = f"check that {server} runs {where} and that the port in receiver_url is right"
    if where == "there" and host.wireguard_interface != "none":
        interface = host.wireguard_interface
        look += f"; that WireGuard is up (`wg show {interface}`), and that `ping {name}` is answered"
    return look


def _notice_silence(sock: socket.socket, seconds: int) -> None:
    """Have the kernel end a connection whose other end says nothing at all for `seconds`: it acknowledges neither what
    it is sent nor, while an answer is waited for, a probe (tcp(7)). The answer to a whole body may take much longer."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, seconds // 2))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _secured(host: LabHost, name: str, plain: socket.socket) -> ssl.SSLSocket:
    plain.settimeout(host.connect_seconds)
    try:
        secure = tls_context(host).wrap_socket(plain, server_hostname=name)
    except BaseException as exc:
        plain.close()
        if isinstance(exc, OSError):
            raise tls_failure(exc, host) from exc
        raise
    secure.settimeout(host.idle_seconds)
    return secure


def tls_context(host: LabHost) -> ssl.SSLContext:
    """What this host trusts and shows.

    Raises:
        TlsFailed: ca_file cannot be used.
        CertificateRefused: client_cert and client_key cannot.
    """
    try:
        context = ssl.create_default_context(cafile=host.ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise failures.TlsFailed(
            f"ca_file {host.ca_file} cannot be read: {reason(exc)}",
            "put the authority's certificate (PEM) there, readable by this user",
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if host.client_cert is not None:
        try:
            context.load_cert_chain(host.client_cert, host.client_key, password=_no_password)
        except (OSError, ValueError) as exc:
            raise failures.CertificateUnusable(
                f"client_cert {host.client_cert} with client_key {host.client_key} cannot be used: "
                f"{reason(exc)}",
                "put the host's certificate and its key (PEM, without a password) there, readable by this user",
            ) from exc
    return context


def _no_password() -> str:
    raise ValueError("the key is protected by a password")


def tls_failure(exc: OSError, host: LabHost) -> failures.TransportFailed:
    """What a failed handshake, or an alert after it, means. TLS 1.3 tells a client only after the handshake that
    its certificate was refused (RFC 8446 §4.4.2.4)."""
    name = urlsplit(host.receiver_url).hostname
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
    why = reason(exc)
    if "ALERT" in why.upper() and not any(word in why.upper() for word in _NOT_OF_CERTIFICATES):
        if host.client_cert is None:
            return failures.CertificateRefused(
                f"{name} wants a client certificate ({why})", "set client_cert and client_key"
            )
        return failures.CertificateRefused(f"{name} refuses this host's certificate ({why})")
    return failures.TlsFailed(f"no TLS with {name}: {why}")


def reason(exc: Exception) -> str:
    """What `exc` says, in a few words."""
    return (
        getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    ).strip()

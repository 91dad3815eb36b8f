"""A connection to a receiver: opened within its time, and silence noticed."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator

from cis490_receiver.http_client import failures
from cis490_receiver.http_client.endpoint import Endpoint
from cis490_receiver.http_client.failures import reason
from cis490_receiver.http_client.tls import handshake, tls_failure


def connect(endpoint: Endpoint) -> http.client.HTTPConnection:
    """A connection that is open, its TLS handshake done.

    Raises:
        DnsFailed, TcpFailed, TlsFailed, CertificateRefused: how far it came.
    """
    if not endpoint.is_secure:
        plain = http.client.HTTPConnection(endpoint.name, endpoint.port)
        plain.sock = _open(endpoint)
        return plain
    # With a context, as the one that it would make for itself takes longer than all the rest.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    secure = http.client.HTTPSConnection(endpoint.name, endpoint.port, context=context)
    secure.sock = handshake(endpoint, _open(endpoint))
    return secure


def addresses(endpoint: Endpoint) -> list[str]:
    """The addresses of the receiver's name, in the order in which they are tried.

    Raises:
        DnsFailed: it has none.
    """
    try:
        found = socket.getaddrinfo(endpoint.name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise _no_address(endpoint, exc) from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@contextlib.contextmanager
def named_failures(endpoint: Endpoint) -> Iterator[None]:
    """What ends an exchange on an open connection, as a failure with its stage and remedy.

    Raises:
        TransportFailed: instead of what `ssl`, `socket` and `http.client` raise.
    """
    later = endpoint.wording.later
    try:
        yield
    except ssl.SSLEOFError as exc:
        # The handshake is long over: the other end died, or a proxy hung up.
        raise failures.ReceiverFailed(f"the connection was lost: {reason(exc)}", later) from exc
    except ssl.SSLError as exc:
        raise tls_failure(exc, endpoint) from exc
    except TimeoutError as exc:
        raise failures.ReceiverFailed("the receiver did not answer in time", later) from exc
    except (OSError, http.client.HTTPException) as exc:
        raise failures.ReceiverFailed(f"the connection was lost: {reason(exc)}", later) from exc


def _open(endpoint: Endpoint) -> socket.socket:
    address = endpoint.name, endpoint.port
    try:
        sock = socket.create_connection(address, endpoint.connect_seconds)
    except (socket.gaierror, UnicodeError) as exc:
        raise _no_address(endpoint, exc) from exc
    except OSError as exc:
        why = exc.strerror or "no answer in time"
        raise failures.TcpFailed(
            f"cannot connect to {endpoint.name}, port {endpoint.port}: {why}", _way(endpoint)
        ) from exc
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _notice_silence(sock, endpoint.idle_seconds)
    sock.settimeout(endpoint.idle_seconds)
    return sock


def _no_address(endpoint: Endpoint, exc: Exception) -> failures.DnsFailed:
    return failures.DnsFailed(
        f"{endpoint.name} has no address: {reason(exc)}",
        f"check the name in {endpoint.wording.url}; add it to /etc/hosts with the receiver's address, or mend the "
        "name server in /etc/resolv.conf",
    )


def _way(endpoint: Endpoint) -> str:
    """What to look at between this machine and a receiver that does not answer."""
    name = endpoint.name
    where = "on this machine" if name == "localhost" or name.startswith("127.") or name == "::1" else "there"
    server = "the receiver's Caddy" if endpoint.is_secure else "the receiver"
    look = f"check that {server} runs {where} and that the port in {endpoint.wording.url} is right"
    if where == "there" and endpoint.wireguard_interface:
        interface = endpoint.wireguard_interface
        look += f"; that WireGuard is up (`wg show {interface}`), and that `ping {name}` is answered"
    return look


def _notice_silence(sock: socket.socket, seconds: int) -> None:
    """Have the kernel end a connection whose other end says nothing at all for `seconds`: it acknowledges neither what
    it is sent nor, while an answer is waited for, a probe (tcp(7)). The answer to a whole body may take much longer."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, seconds // 2))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

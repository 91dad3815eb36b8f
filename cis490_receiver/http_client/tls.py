"""TLS with a receiver: the certificate that is shown, the one that is checked, and what a failure means."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from cis490_receiver.http_client import failures
from cis490_receiver.http_client.endpoint import Endpoint
from cis490_receiver.http_client.failures import reason

#: Alerts (RFC 8446 §6.2) that speak of something else than the client's certificate: Go's server says the first of them
#: where it has no certificate for the name that it is asked for.
_NOT_OF_CERTIFICATES: Final = ("INTERNAL_ERROR", "UNRECOGNIZED_NAME", "PROTOCOL_VERSION")


def handshake(endpoint: Endpoint, plain: socket.socket) -> ssl.SSLSocket:
    """Speak TLS on an open connection, which is closed when that fails.

    Raises:
        TlsFailed, CertificateRefused: it failed.
    """
    plain.settimeout(endpoint.connect_seconds)
    try:
        secure = tls_context(endpoint).wrap_socket(plain, server_hostname=endpoint.name)
    except BaseException as exc:
        plain.close()
        if isinstance(exc, OSError):
            raise tls_failure(exc, endpoint) from exc
        raise
    secure.settimeout(endpoint.idle_seconds)
    return secure


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """What is trusted and shown.

    Raises:
        CaFileUnusable: the authority's certificate cannot be used.
        CertificateUnusable: client certificate and key cannot.
    """
    wording = endpoint.wording
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise failures.CaFileUnusable(
            f"{wording.ca_file} {endpoint.ca_file} cannot be read: {reason(exc)}",
            "put the authority's certificate (PEM) there, readable by this user",
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if endpoint.client_cert is not None:
        try:
            context.load_cert_chain(endpoint.client_cert, endpoint.client_key, password=_no_password)
        except (OSError, ValueError) as exc:
            raise failures.CertificateUnusable(
                f"{wording.cert} {endpoint.client_cert} with {wording.key} {endpoint.client_key} cannot be used: "
                f"{reason(exc)}",
                "put the certificate and its key (PEM, without a password) there, readable by this user",
            ) from exc
    return context


def _no_password() -> str:
    raise ValueError("the key is protected by a password")


def tls_failure(exc: OSError, endpoint: Endpoint) -> failures.TransportFailed:
    """What a failed handshake, or an alert after it, means. TLS 1.3 tells a client only after the handshake that
    its certificate was refused (RFC 8446 §4.4.2.4)."""
    wording, name = endpoint.wording, endpoint.name
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _not_trusted(exc.verify_message, endpoint)
    why = reason(exc)
    if "ALERT" in why.upper() and not any(word in why.upper() for word in _NOT_OF_CERTIFICATES):
        if endpoint.client_cert is None:
            return failures.CertificateRefused(
                f"{name} wants a client certificate ({why})", f"{wording.change} {wording.certificate}"
            )
        return failures.CertificateRefused(
            f"{name} refuses this host's certificate ({why})", wording.certificate_refused
        )
    return failures.TlsFailed(
        f"no TLS with {name}: {why}",
        f"check {wording.url} (https, the right name and port) and {wording.ca_file}",
    )


def _not_trusted(why: str, endpoint: Endpoint) -> failures.TlsFailed:
    wording = endpoint.wording
    if "expired" in why or "not yet valid" in why:
        remedy = "compare this host's clock (`date -u`); if it is right, the receiver's certificate is over"
    elif "match" in why:
        remedy = f"say the name in {wording.url} that stands in the receiver's certificate"
    else:
        remedy = f"{wording.change} the authority that signed the receiver's certificate as {wording.ca_file}"
    return failures.TlsFailed(f"the certificate of {endpoint.name} is not trusted: {why}", remedy)

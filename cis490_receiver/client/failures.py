"""What can go wrong between a lab host and its receiver, stage by stage, each with its remedy."""

from __future__ import annotations

from typing import ClassVar

from cis490_receiver.errors import ReceiverError


class TransportFailed(ReceiverError):
    """No answer of the receiver was had.

    Attributes:
        stage: how far it came, as `--ping` prints it.
        remedy: what a person at the host can do.
        retry_after_seconds: what ``Retry-After`` asked for, where there was such an answer.
    """

    code = "transport-failed"
    stage: ClassVar[str] = "receiver"
    default_remedy: ClassVar[str] = "try again later"

    def __init__(
        self, message: str, remedy: str | None = None, *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.remedy = remedy or self.default_remedy
        self.retry_after_seconds = retry_after_seconds


class DnsFailed(TransportFailed):
    """The receiver's name has no address."""

    code = "dns-failed"
    stage = "DNS"
    default_remedy = (
        "check the name in receiver_url; add it to /etc/hosts with the receiver's address, or mend the name "
        "server in /etc/resolv.conf"
    )


class TcpFailed(TransportFailed):
    """Nobody answers at the receiver's address."""

    code = "tcp-failed"
    stage = "TCP"
    default_remedy = "check that host and port in receiver_url are right and that the receiver runs"


class TlsFailed(TransportFailed):
    """The receiver's certificate is not one to trust, or no TLS is spoken there."""

    code = "tls-failed"
    stage = "TLS"
    default_remedy = "check receiver_url (https, the right name and port) and ca_file"


class CertificateRefused(TransportFailed):
    """The certificate that this host shows cannot be used, or the receiver does not take it."""

    code = "certificate-refused"
    stage = "client certificate"
    default_remedy = (
        "check client_cert and client_key: `cis490-doctor` says when the certificate ends; have the "
        "maintainer sign a new one"
    )


class CertificateUnusable(CertificateRefused):
    """The certificate that this host would show cannot be used; nobody was asked."""

    code = "certificate-unusable"


class TokenRefused(TransportFailed):
    """The receiver does not take this host's token."""

    code = "token-refused"
    stage = "token"
    default_remedy = "put the token that the maintainer gave this host into token_file; nothing else in it"


class HostRefused(TransportFailed):
    """Certificate and token are good, and another host's."""

    code = "host-refused"
    stage = "host id"
    default_remedy = (
        "set host_id to the name that certificate and token were made for, or have the maintainer make "
        "ones for this host"
    )


class ReceiverFailed(TransportFailed):
    """The receiver, or a proxy before it, gave no answer that means anything, or says that it cannot."""

    code = "receiver-failed"
    default_remedy = "wait: the shipper tries again by itself; tell the maintainer if it lasts"


class FileChanged(ReceiverError):
    """The file is not the one that was hashed: somebody writes to it."""

    code = "file-changed"
    default_message = "the file changed while it was being shipped"


class FileUnreadable(ReceiverError):
    """The disk gives an error, not the network."""

    code = "file-unreadable"

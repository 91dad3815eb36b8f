"""What can go wrong on the way to a receiver, stage by stage."""

from __future__ import annotations

from typing import ClassVar

from cis490_receiver.errors import ReceiverError


class TransportFailed(ReceiverError):
    """No answer of the receiver was had.

    Attributes:
        stage: how far it came.
        may_pass: whether another try, with nothing changed here, may go better.
        remedy: what a person can do.
        retry_after_seconds: what ``Retry-After`` asked for, where there was such an answer.
    """

    code = "transport-failed"
    stage: ClassVar[str] = "receiver"
    may_pass: ClassVar[bool] = False

    def __init__(self, message: str, remedy: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.retry_after_seconds = retry_after_seconds


class DnsFailed(TransportFailed):
    """The receiver's name has no address."""

    code = "dns-failed"
    stage = "DNS"
    may_pass = True


class TcpFailed(TransportFailed):
    """Nobody answers at the receiver's address."""

    code = "tcp-failed"
    stage = "TCP"
    may_pass = True


class TlsFailed(TransportFailed):
    """The receiver's certificate is not one to trust, or no TLS is spoken there."""

    code = "tls-failed"
    stage = "TLS"


class CaFileUnusable(TlsFailed):
    """The authority that is to be trusted cannot be read; nobody was asked."""


class CertificateRefused(TransportFailed):
    """The certificate that is shown cannot be used, or the receiver does not take it."""

    code = "certificate-refused"
    stage = "client certificate"


class CertificateUnusable(CertificateRefused):
    """The certificate that would be shown cannot be used; nobody was asked."""

    code = "certificate-unusable"


class TokenRefused(TransportFailed):
    """The receiver does not take the token."""

    code = "token-refused"
    stage = "token"


class HostRefused(TransportFailed):
    """Certificate and token are good, and another host's."""

    code = "host-refused"
    stage = "host id"


class ReceiverFailed(TransportFailed):
    """The receiver, or a proxy before it, gave no answer that means anything, or says that it cannot."""

    code = "receiver-failed"
    may_pass = True


class FileChanged(ReceiverError):
    """The file is not the one that was hashed: somebody writes to it."""

    code = "file-changed"
    default_message = "the file changed while it was being shipped"


class FileUnreadable(ReceiverError):
    """The disk gives an error, not the network."""

    code = "file-unreadable"


def reason(exc: Exception) -> str:
    """What `exc` says, in a few words."""
    return (
        getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    ).strip()

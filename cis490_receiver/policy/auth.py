"""Who asks, and what they may: bearer tokens (RFC 6750) and, behind a proxy, the client certificate's name."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cis490_receiver.clock import Clock
from cis490_receiver.config import Settings
from cis490_receiver.errors import BadToken, HostMismatch, MissingToken, ScopeMissing
from cis490_receiver.policy.certificate import ClientCertificate
from cis490_receiver.policy.headers import Headers
from cis490_receiver.policy.remedies import OTHER_HOST
from cis490_receiver.state.base.tokens import Token, TokenList


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in."""

    #: None for who presented the fleet's token, or where none is configured: may do everything.
    token: Token | None
    #: The certificate whose name must be the host's that is shipped as; None where any will do.
    certificate: ClientCertificate | None

    def require(self, scope: str) -> None:
        """Raises:
        ScopeMissing: the token is not for `scope` (``ship``, ``read`` or ``admin``, which has them all).
        """
        if self.token is not None and not self.token.scopes & {scope, "admin"}:
            raise ScopeMissing(None, scope=scope)

    def require_host(self, host_id: str) -> None:
        """Raises:
        HostMismatch: it may not ship as `host_id`.
        """
        if self.token is not None and not self.token.allows_host(host_id):
            raise HostMismatch(
                f"this token is for {self.token.hosts}, not for {host_id}", remediation=OTHER_HOST
            )
        if self.certificate is not None:
            self.certificate.require_host(host_id)


class Authenticator:
    """Checks who asks."""

    def __init__(self, settings: Settings, clock: Clock, tokens: TokenList | None) -> None:
        self._fleet = settings.bearer_token
        self._tokens = tokens
        self._proxies = frozenset(settings.trusted_proxies)
        self._bind_certificates = settings.bind_client_certificates
        self._clock = clock

    def authenticate(self, headers: Headers, remote_address: str) -> Principal:
        """Let a request through that presents a good token. With none configured everything passes.

        `headers` are as WSGI gives them, bytes as Latin-1; `remote_address` is the peer's, empty on a unix
        socket.

        Raises:
            MissingToken: no header, or another scheme than Bearer.
            BadToken: another token, or one that has expired.
        """
        return Principal(
            self._check_bearer(headers.get("Authorization", "")),
            self._certificate(headers, remote_address) if self._bind_certificates else None,
        )

    def _check_bearer(self, authorization: str) -> Token | None:
        if self.is_open:
            return None
        scheme, _, presented = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise MissingToken
        # Digests are compared, as bytes: the time tells neither a token's length nor how much of it was
        # right, and a header of any bytes at all is merely wrong.
        return self.identify(_digest(presented.strip(), "latin-1"))

    @property
    def is_open(self) -> bool:
        """Whether no token is configured, so that everybody may come in."""
        return self._fleet is None and self._tokens is None

    def identify(self, digest: bytes) -> Token | None:
        """The token whose SHA-256 is `digest`; None for the fleet's.

        Raises:
            BadToken: it is another, or one that has expired.
        """
        if self._fleet is not None and hmac.compare_digest(digest, _digest(self._fleet, "utf-8")):
            return None
        token = self._tokens.find(digest.hex()) if self._tokens else None
        if token is None or token.is_expired(self._clock.now_ns()):
            raise BadToken
        return token

    @property
    def fleet_digest(self) -> bytes | None:
        """The SHA-256 of the fleet's token; None where there is none."""
        return None if self._fleet is None else _digest(self._fleet, "utf-8")

    def _certificate(self, headers: Headers, remote_address: str) -> ClientCertificate:
        """What the proxy vouches for; anybody else may write what they like into the headers."""
        if remote_address and remote_address not in self._proxies:
            return ClientCertificate()
        return ClientCertificate.of(headers)


def digest_of_text(text: str) -> bytes:
    """The SHA-256 of a token as it was typed into a form."""
    return _digest(text.strip(), "utf-8")


def _digest(text: str, encoding: str) -> bytes:
    return hashlib.sha256(text.encode(encoding, "replace")).digest()

"""A server, as one end sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the things that a person can change are called at this end, for remedies.

    Attributes:
        change: the verb for giving one, such as "set" for keys and "give" for options.
        url, ca_file, cert, key: the names of the four.
        certificate_refused: the remedy where the server does not take the certificate that it is shown.
        later: the remedy where the server, and nothing here, is at fault.
    """

    change: str
    url: str
    ca_file: str
    cert: str
    key: str
    certificate_refused: str
    later: str

    @property
    def certificate(self) -> str:
        """Certificate and key together."""
        return f"{self.cert} and {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the server is, what is shown to it and trusted, and for how long it is waited for.

    Attributes:
        url: ``http://`` or ``https://``, with a host.
        ca_file: the authority that vouches for the server; None: those of the system.
        client_cert, client_key: what is shown to it; both or none.
        connect_seconds: how long an address may take to answer, and the handshake after it.
        idle_seconds: the longest pause in an exchange.
        wireguard_interface: what leads there, for remedies; empty when none does.
    """

    url: str
    wording: Wording
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    connect_seconds: float = 10
    idle_seconds: int = 60
    wireguard_interface: str = ""

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return urlsplit(self.url).scheme == "https"

    @property
    def name(self) -> str:
        """The server's name or address, an IPv6 one without its brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, given or the scheme's own."""
        return urlsplit(self.url).port or (443 if self.is_secure else 80)

    @property
    def path(self) -> str:
        """What stands before the path of every request, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")


def is_address(url: str) -> bool:
    """Whether `url` can be the address of a server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

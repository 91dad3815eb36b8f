"""A receiver, as a trainer's machine reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cis490_receiver.errors import ReceiverError
from cis490_receiver.http_client.decoding import CODING, Decoded
from cis490_receiver.http_client.endpoint import Endpoint, Wording, is_address
from cis490_receiver.http_client.failures import TokenRefused
from cis490_receiver.http_client.many import Many
from cis490_receiver.http_client.reader import Body, Line, Reader
from cis490_receiver.http_client.tls import tls_context

CONNECT_SECONDS: Final = 60
IDLE_SECONDS: Final = 60
WORDING: Final = Wording(
    change="give",
    url="the URL",
    ca_file="--ca-file",
    cert="--cert",
    key="--key",
    certificate_refused="check --cert and --key (`openssl x509 -noout -enddate -in FILE` says when a certificate "
    "ends); have the maintainer sign a new one",
    later="run it again, it goes on where it was; tell whoever runs the receiver if it lasts",
)


class MirrorFailed(ReceiverError):
    """The mirror cannot go on; the message says what to do."""

    code = "mirror-failed"


class Remote:
    """A receiver, over one connection a thread."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        wording: Wording = WORDING,
        token_option: str = "--token-file",  # noqa: S107 - a name
    ) -> None:
        """Read from `url`, whose server certificate `ca_file` vouches for, as the client whose certificate and
        key files `certificate` are. `wording` and `token_option` name what the caller can change.

        Raises:
            MirrorFailed: `url` is no address.
            CaFileUnusable, CertificateUnusable: a file cannot be used.
        """
        if not is_address(url):
            raise MirrorFailed(
                f"{url} is not the address of a receiver; give http://HOST:PORT or https://HOST"
            )
        cert, key = certificate or (None, None)
        endpoint = Endpoint(
            url=url,
            wording=wording,
            ca_file=ca_file,
            client_cert=cert,
            client_key=key,
            connect_seconds=CONNECT_SECONDS,
            idle_seconds=IDLE_SECONDS,
        )
        if endpoint.is_secure:
            tls_context(endpoint)
        self._token_option = token_option
        self._reader = Reader(endpoint, {"Authorization": f"Bearer {token}"} if token else {})

    def get(self, path: str, headers: dict[str, str]) -> Body:
        """An answer, its body still to be read.

        Raises:
            TokenRefused: the token is refused.
            TransportFailed: no answer was had.
        """
        return self.permitted(self._reader.get(path, headers))

    def get_whole(self, path: str) -> Body | Decoded:
        """`get`, compressed on the way where the receiver can do that.

        Raises:
            MirrorFailed: it was compressed in some other way.
            TokenRefused, TransportFailed: as `get`.
        """
        body = self.get(path, {"Accept-Encoding": CODING})
        coded = body.headers.get("Content-Encoding", "identity").lower()
        if coded == CODING:
            return Decoded(body, WORDING)
        if coded != "identity":
            raise MirrorFailed(f"the receiver answers in the coding {coded}, for which nobody asked")
        return body

    def go_on(self, path: str, begin: int, sha256: str) -> Body:
        """What follows the first `begin` bytes of the episode at `path`, or the whole where it is another now.

        Raises:
            TokenRefused, TransportFailed: as `get`.
        """
        return self.permitted(self._reader.go_on(path, begin, f'"{sha256}"'))

    def new_line(self) -> Line:
        """A connection for whoever wants to hold it himself; `permitted` judges its answers."""
        return self._reader.new_line()

    def new_many(self, connections: int) -> Many:
        """Many small questions at once, over so many connections."""
        return self._reader.new_many(connections)

    def permitted(self, body: Body) -> Body:
        """An answer to somebody who may read.

        Raises:
            TokenRefused: the token is refused.
        """
        if body.status in (401, 403):
            raise TokenRefused(
                f"the receiver refused the token ({body.status})",
                f"give one that may read with {self._token_option}",
            )
        return body

"""The receiver's end as a lab host meets it: the real Caddy with our Caddyfile before the real receiver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.client.hosts import Lab
from tests.conftest import need
from tests.support.archives import Archive
from tests.support.caddy import Authority, Caddy, Certificate
from tests.support.receiver import Receiver


class Site:
    """Receiver, Caddy, and two authorities: ours and a stranger's."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "localhost",
        address: tuple[str, int] | None = None,
        **settings: object,
    ) -> None:
        caddy, openssl = need("caddy"), need("openssl")
        folder.mkdir(exist_ok=True)
        socket = folder / "http.sock"
        self.name = name
        self.ours = Authority(openssl, folder / "ours", "lab authority")
        self.stranger = Authority(openssl, folder / "stranger", "another authority")
        self.receiver = Receiver(folder / "data", folder / "receiver.log", bind=f"unix:{socket}", **settings)
        server, ca = self.ours.issue(name, "serverAuth"), self.ours.certificate.cert
        self.caddy = Caddy(caddy, folder / "caddy", socket, server, ca, site=name, address=address)

    def lab(self, folder: Path, host: str, *, shown: Certificate | None, **keys: Any) -> Lab:
        """A lab host that calls itself `host` and shows the certificate `shown`."""
        url = f"https://{self.name}:{self.caddy.port}"
        pair = {"client_cert": shown.cert, "client_key": shown.key} if shown else {}
        return Lab(folder, url, host_id=host, ca_file=self.ours.certificate.cert, **pair, **keys)


@contextlib.contextmanager
def serving(site: Site, *wrapper: str) -> Iterator[Site]:
    """`site` for the length of a block, its programs under the command `wrapper`, when given."""
    try:
        site.receiver.start(*wrapper)
        site.caddy.start(*wrapper)
        yield site
    finally:
        site.caddy.stop()
        site.receiver.end()


def has_each_once(receiver: Receiver, host: str, archives: dict[str, Archive]) -> bool:
    """Whether the receiver has every one of `archives` of `host`, and nothing twice: in the index, and as bytes."""
    index = [(line["host_id"], line["episode_id"], line["sha256"]) for line in receiver.index()]
    stored = {(host, f"{name}.tar.zst"): archive.data for name, archive in archives.items()}
    return (
        sorted(index) == sorted((host, name, archive.sha256) for name, archive in archives.items())
        and receiver.stored() == stored
    )

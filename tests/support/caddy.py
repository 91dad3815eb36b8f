"""The real Caddy with the Caddyfile that people install, and certificates for both ends."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.receiver import ROOT

CADDYFILE = ROOT / "etc" / "Caddyfile"
SITE = "receiver.test"
START_SECONDS = 30


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a folder of its own, made by openssl."""

    def __init__(self, openssl: str, folder: Path, name: str) -> None:
        folder.mkdir()
        self._openssl = openssl
        self._folder = folder
        self.certificate = self._self_signed(name)

    def _self_signed(self, name: str) -> Certificate:
        made = Certificate(self._folder / "ca.pem", self._folder / "ca.key")
        self._run(
            "req", "-x509", "-days", "2", *_new_key(made.key), "-out", made.cert, "-subj", f"/CN={name}"
        )
        return made

    def issue(self, name: str, usage: str, *, days: int = 2) -> Certificate:
        """A certificate for `name`; `usage` is serverAuth or clientAuth. With negative `days` it is over."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage={usage}\n")
        self._run("req", *_new_key(made.key), "-out", request, "-subj", f"/O=lab/CN={name}")
        signer = ("-CA", self.certificate.cert, "-CAkey", self.certificate.key, "-CAcreateserial")
        self._run(
            *("x509", "-req", "-days", str(days), "-in", request, *signer),
            *("-extfile", extensions, "-out", made.cert),
        )
        return made

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)


class Caddy:
    """Caddy in front of a unix socket: on a free port of the loopback interface, or where it is told to listen."""

    def __init__(
        self,
        program: str,
        folder: Path,
        upstream: Path,
        server: Certificate,
        client_ca: Path,
        *,
        site: str = SITE,
        address: tuple[str, int] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / "caddy.log"
        listen, self.port = address or ("127.0.0.1", _free_port())
        self.process: subprocess.Popen[bytes] | None = None
        self._program = program
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CIS490_SITE": site,
            "CIS490_LISTEN": listen,
            "CIS490_PORT": str(self.port),
            "CIS490_SOCKET": str(upstream),
            "CIS490_TLS_CERT": str(server.cert),
            "CIS490_TLS_KEY": str(server.key),
            "CIS490_CLIENT_CA": str(client_ca),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of Caddy's that ends, on the Caddyfile."""
        return subprocess.run(
            [self._program, *command, "--config", str(CADDYFILE), "--adapter", "caddyfile"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, *wrapper: str) -> None:
        """Start it (under the command `wrapper`, when given) and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, self._program, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._listens(self.process.pid):
                return
            time.sleep(0.02)
        raise RuntimeError(f"Caddy did not start:\n{self.log_text()}")

    def _listens(self, pid: int) -> bool:
        """Whether something listens on the port in the network of the process `pid` (proc(5), net/tcp)."""
        with contextlib.suppress(OSError):
            listening = rf":{self.port:04X} 00000000:0000 0A "
            return listening in Path(f"/proc/{pid}/net/tcp").read_text()
        return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")


class Client:
    """A lab host's way to Caddy: the server's authority, a certificate of its own or none."""

    def __init__(self, port: int, server_ca: Path, certificate: Certificate | None) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(server_ca))
        if certificate is not None:
            self._context.load_cert_chain(certificate.cert, certificate.key)

    def connect(self, *, sni: str = SITE, check_name: bool = True) -> http.client.HTTPSConnection:
        """A connection whose handshake is done, asking for the name `sni`."""
        self._context.check_hostname = check_name
        plain = socket.create_connection(("127.0.0.1", self._port), 30)
        connection = http.client.HTTPSConnection(SITE, self._port, timeout=30)
        try:
            connection.sock = self._context.wrap_socket(plain, server_hostname=sni)
        except OSError:
            plain.close()
            raise
        return connection


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

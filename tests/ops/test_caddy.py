"""Caddy before the receiver, both real, with the Caddyfile that people install."""

from __future__ import annotations

import base64
import contextlib
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.caddy import SITE, Authority, Caddy, Client
from tests.support.receiver import AUTH, Answer, Receiver, put_headers, read_answer

BIG = 20 << 20
EARLY_REFUSALS = 30
REFUSALS_THEN_ACCEPTANCES = 20


class Proxied:
    """A receiver on a unix socket, Caddy in front, and authorities: ours and a stranger's."""

    def __init__(self, folder: Path) -> None:
        openssl = need("openssl")
        self.socket = folder / "http.sock"
        self.ours = Authority(openssl, folder / "ours", "lab authority")
        self.strange = Authority(openssl, folder / "strange", "another authority")
        self.server_certificate = self.ours.issue(SITE, "serverAuth")
        self.host_certificate = self.ours.issue("lab-host-1", "clientAuth")
        self.strange_certificate = self.strange.issue("lab-host-1", "clientAuth")
        self.receiver = Receiver(folder / "data", folder / "receiver.log", bind=f"unix:{self.socket}")
        self.caddy = self.caddy_for(folder / "caddy", self.socket)

    def caddy_for(self, folder: Path, upstream: Path, client_ca: Path | None = None) -> Caddy:
        """Another Caddy, not started."""
        ca = client_ca or self.ours.certificate.cert
        return Caddy(need("caddy"), folder, upstream, self.server_certificate, ca)

    def client(self, caddy: Caddy | None = None) -> Client:
        """A lab host with a good certificate."""
        port = (caddy or self.caddy).port
        return Client(port, self.ours.certificate.cert, self.host_certificate)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    made = Proxied(tmp_path_factory.mktemp("proxied"))
    try:
        made.receiver.start()
        made.caddy.start()
        yield made
    finally:
        made.caddy.stop()
        made.receiver.end()


def ask(client: Client, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    with contextlib.closing(client.connect()) as connection:
        connection.request(method, path, body, headers)
        return read_answer(connection)


def test_a_large_episode_goes_through_and_comes_back(proxied: Proxied) -> None:
    episode = make_episode(1, size=BIG)
    path = "/v1/episodes/through/big.tar.zst"
    answer = ask(proxied.client(), "PUT", path, episode.data, put_headers(episode))
    assert (answer.status, answer.json["sha256"]) == (201, episode.sha256)
    assert ask(proxied.client(), "GET", path, None, AUTH).body == episode.data


def test_a_body_streams_to_the_receiver_before_it_has_ended(proxied: Proxied) -> None:
    episode = make_episode(2, size=1 << 20)
    with contextlib.closing(proxied.client().connect()) as connection:
        connection.putrequest("PUT", "/v1/episodes/through/slow.tar.zst")
        for name, value in (put_headers(episode) | {"Content-Length": str(len(episode.data))}).items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(episode.data[: 1 << 19])
        for _ in until(lambda: any(name.startswith("through~slow~") for name in proxied.receiver.incoming())):
            pass
        connection.send(episode.data[1 << 19 :])
        assert read_answer(connection).status == 201


def until(condition: object, seconds: float = 20) -> Iterator[None]:
    """Turns of a loop until `condition()` holds."""
    assert callable(condition)
    deadline = threading.Event()
    timer = threading.Timer(seconds, deadline.set)
    timer.start()
    try:
        while not condition():
            assert not deadline.is_set(), "it did not come about in time"
            yield
    finally:
        timer.cancel()


@pytest.mark.parametrize("whose", ["nobody's", "a stranger's"])
def test_a_client_without_a_certificate_of_ours_is_refused_by_tls(proxied: Proxied, whose: str) -> None:
    certificate = proxied.strange_certificate if whose == "a stranger's" else None
    client = Client(proxied.caddy.port, proxied.ours.certificate.cert, certificate)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(client, "GET", "/v1/health", None, {})


def test_another_host_name_is_refused(proxied: Proxied) -> None:
    for sni, host in ((SITE, "other.test"), ("other.test", "other.test"), ("other.test", SITE)):
        try:
            connection = proxied.client().connect(sni=sni, check_name=False)
        except ssl.SSLError:
            continue
        with contextlib.closing(connection):
            connection.request("GET", "/v1/health", headers={"Host": host})
            answer = read_answer(connection)
        assert (answer.status, answer.headers["X-Powered-By"]) == (421, None), (sni, host)
        assert "code" in answer.json


def test_another_host_name_needs_a_certificate_too(proxied: Proxied) -> None:
    client = Client(proxied.caddy.port, proxied.ours.certificate.cert, None)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection = client.connect(sni="other.test", check_name=False)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/health", headers={"Host": SITE})
            read_answer(connection)


@pytest.mark.slow
def test_an_early_refusal_of_a_large_body_can_be_read_every_time(proxied: Proxied) -> None:
    episode = make_episode(3, size=BIG)
    headers = put_headers(episode) | {"Authorization": "Bearer wrong"}
    client = proxied.client()
    for number in range(EARLY_REFUSALS):
        path = f"/v1/episodes/early/refused-{number}.tar.zst"
        with contextlib.closing(client.connect()) as connection:
            # The send must not fail: many a client would give up there, and not read.
            connection.request("PUT", path, episode.data, headers)
            answer = read_answer(connection)
        assert (answer.status, answer.json["code"]) == (401, "bad-bearer-token"), number
    assert not [host for host, _ in proxied.receiver.stored() if host == "early"]


def test_a_refusal_and_then_an_acceptance_on_one_connection(proxied: Proxied) -> None:
    client = proxied.client()
    for number in range(REFUSALS_THEN_ACCEPTANCES):
        episode = make_episode(100 + number)
        path = f"/v1/episodes/pairs/pair-{number}.tar.zst"
        with contextlib.closing(client.connect()) as connection:
            first_socket = connection.sock
            statuses = []
            for headers in ({"Authorization": "Bearer wrong"}, {}):
                connection.request("PUT", path, episode.data, put_headers(episode) | headers)
                statuses.append(read_answer(connection).status)
            assert statuses == [401, 201], number
            assert connection.sock is first_socket


def test_an_expectation_is_met_and_the_connection_goes_on(proxied: Proxied) -> None:
    client = proxied.client()
    with contextlib.closing(client.connect()) as connection:
        for number in range(5):
            episode = make_episode(200 + number)
            headers = put_headers(episode) | {"Expect": "100-continue"}
            connection.request("PUT", f"/v1/episodes/expects/e-{number}.tar.zst", episode.data, headers)
            assert read_answer(connection).status == 201, number


@contextlib.contextmanager
def echo(path: Path) -> Iterator[None]:
    """An upstream that answers with the headers that it got."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(self.headers.items()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    with socketserver.ThreadingUnixStreamServer(str(path), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_who_asks_is_what_the_certificate_says(proxied: Proxied, tmp_path: Path) -> None:
    spoofed = (
        "X-Client-Subject",
        "X-Client-Certificate",
        "x-client-fingerprint",
        "X-Client-Host",
        "X-CLIENT-CERT",
        "X-Forwarded-For",
    )
    caddy = proxied.caddy_for(tmp_path / "caddy", tmp_path / "echo.sock")
    with echo(tmp_path / "echo.sock"):
        try:
            caddy.start()
            headers = dict.fromkeys(spoofed, "spoofed") | {"Expect": "100-continue", "X-Lab-Host": "kept"}
            arrived = ask(proxied.client(caddy), "GET", "/", None, headers).json
        finally:
            caddy.stop()
    assert "spoofed" not in json.dumps(arrived)
    identity = {name.lower(): value for name, value in arrived if name.lower().startswith("x-client-")}
    certificate = ssl.PEM_cert_to_DER_cert(proxied.host_certificate.cert.read_text())
    assert identity == {
        "x-client-subject": "CN=lab-host-1,O=lab",
        "x-client-fingerprint": sha256(certificate),
        "x-client-certificate": base64.b64encode(certificate).decode("ascii"),
    }
    names = [name.lower() for name, _ in arrived]
    assert "expect" not in names
    assert "x-lab-host" in names


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_receiver_that_is_down_is_said_in_json(proxied: Proxied, tmp_path: Path) -> None:
    caddy = proxied.caddy_for(tmp_path / "caddy", tmp_path / "nobody.sock")
    try:
        caddy.start()
        answer = ask(proxied.client(caddy), "GET", "/v1/health", None, AUTH)
    finally:
        caddy.stop()
    assert (answer.status, answer.json["code"]) == (502, "receiver-unreachable")
    assert answer.headers["Retry-After"] == "2"
    assert AUTH["Authorization"] not in caddy.log_text()


def test_the_caddyfile_is_valid_and_formatted(proxied: Proxied) -> None:
    validated = proxied.caddy.run("validate")
    assert validated.returncode == 0, validated.stderr
    adapted = proxied.caddy.run("adapt")
    assert "not formatted" not in adapted.stderr
    config = json.loads(adapted.stdout)
    servers = config["apps"]["http"]["servers"].values()
    policies = [policy for server in servers for policy in server["tls_connection_policies"]]
    assert policies
    assert all(one["client_authentication"]["mode"] == "require_and_verify" for one in policies)
    assert not any("logs" in server for server in servers)
    assert all(server["protocols"] == ["h1"] for server in servers)


@pytest.mark.parametrize("content", [None, "", "not a certificate\n"], ids=["missing", "empty", "garbage"])
def test_without_a_client_authority_caddy_does_not_start(
    proxied: Proxied, tmp_path: Path, content: str | None
) -> None:
    authority = tmp_path / "ca.pem"
    if content is not None:
        authority.write_text(content)
    caddy = proxied.caddy_for(tmp_path / "caddy", proxied.socket, authority)
    with pytest.raises(RuntimeError, match=r"ca\.pem"):
        caddy.start()
    assert caddy.process is not None
    assert caddy.process.wait(timeout=10) != 0

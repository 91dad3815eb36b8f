"""`cis490-shipper --ping` names the stage that fails, and what to do."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cis490_receiver.client.diagnosis import skew_in_words
from tests.client.hosts import Lab
from tests.client.tls import terminating
from tests.client.waiting import until
from tests.conftest import need
from tests.support.caddy import Authority, Certificate
from tests.support.receiver import Receiver

STAGES = ["DNS", "TCP", "TLS", "client certificate", "token", "host id", "receiver"]


@dataclass(frozen=True)
class Site:
    """A receiver behind TLS, and a lab host that it takes."""

    port: int
    authority: Authority
    stranger: Authority
    mine: Certificate
    receiver: Receiver

    def lab(self, folder: Path, **keys: object) -> Lab:
        lab = Lab(
            folder, f"https://localhost:{self.port}", client_cert=self.mine.cert, client_key=self.mine.key
        )
        lab.write(ca_file=self.authority.certificate.cert, **keys)
        return lab


@pytest.fixture(scope="module")
def site(shared_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(need("openssl"), folder / "ca", "lab")
    stranger = Authority(need("openssl"), folder / "stranger", "stranger")
    server, mine = authority.issue("localhost", "serverAuth"), authority.issue("lab-1", "clientAuth")
    with terminating(server, authority.certificate.cert, shared_receiver.port) as port:
        yield Site(port, authority, stranger, mine, shared_receiver)


def ping(lab: Lab) -> tuple[str | None, str]:
    """The stage that fails, and everything that is said."""
    asked = lab.run("cis490-shipper", "--ping", "--json")
    assert asked.stderr == ""
    told = json.loads(asked.stdout)
    plain = lab.run("cis490-shipper", "--ping")
    assert [stage["name"] for stage in told["stages"]] == STAGES
    failed = [stage for stage in told["stages"] if stage["ok"] is False]
    assert plain.returncode == len(failed) == (not told["ok"])
    if not failed:
        return None, plain.stdout
    assert failed[0]["remedy"] in plain.stdout
    before = told["stages"][: STAGES.index(failed[0]["name"])]
    assert all(stage["ok"] is not False for stage in before)
    assert {stage["seen"] for stage in before if stage["ok"]}.isdisjoint({"good", ""}), "it says what it saw"
    return failed[0]["name"], plain.stdout


def test_all_is_well(site: Site, tmp_path: Path) -> None:
    failed, said = ping(site.lab(tmp_path))
    assert failed is None
    assert "TLSv1.3" in said and "clock agrees with the receiver's" in said


def test_a_name_without_an_address(tmp_path: Path) -> None:
    failed, said = ping(Lab(tmp_path, "https://no-such-host.invalid"))
    assert (failed, "/etc/hosts" in said) == ("DNS", True)


def test_an_address_where_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        failed, said = ping(Lab(tmp_path, f"http://127.0.0.1:{unheard.getsockname()[1]}"))
    assert failed == "TCP"
    assert "127.0.0.1 is an address" in said and "that the receiver runs on this machine" in said
    assert "Caddy" not in said and "wg show" not in said


def test_a_receiver_beyond_wireguard_that_does_not_answer(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "https://192.0.2.1:1", wireguard_interface="wg7", connect_seconds=1)
    failed, said = ping(lab)
    assert (failed, "wg show wg7" in said, "Caddy" in said) == ("TCP", True, True)


def test_a_receiver_of_another_authority(site: Site, tmp_path: Path) -> None:
    lab = site.lab(tmp_path)
    lab.write(ca_file=site.stranger.certificate.cert)
    failed, said = ping(lab)
    assert (failed, "ca_file" in said) == ("TLS", True)


def test_a_receiver_of_another_name(site: Site, tmp_path: Path) -> None:
    failed, said = ping(site.lab(tmp_path, receiver_url=f"https://127.0.0.1:{site.port}"))
    assert (failed, "receiver_url" in said) == ("TLS", True)


def test_a_receiver_whose_certificate_is_over(site: Site, tmp_path: Path) -> None:
    over = site.authority.issue("localhost", "serverAuth", days=-1)
    with terminating(over, None, site.receiver.port) as port:
        failed, said = ping(site.lab(tmp_path, receiver_url=f"https://localhost:{port}"))
    assert (failed, "date -u" in said) == ("TLS", True)


def test_a_port_that_speaks_no_tls(site: Site, tmp_path: Path) -> None:
    failed, _ = ping(site.lab(tmp_path, receiver_url=f"https://localhost:{site.receiver.port}"))
    assert failed == "TLS"


def test_no_client_certificate(site: Site, tmp_path: Path) -> None:
    lab = site.lab(tmp_path)
    del lab.keys["client_cert"], lab.keys["client_key"]
    lab.write()
    failed, said = ping(lab)
    assert (failed, "client_cert" in said) == ("client certificate", True)


@pytest.mark.parametrize("kind", ["another authority's", "over", "absent", "of another key"])
def test_a_client_certificate_that_is(site: Site, tmp_path: Path, kind: str) -> None:
    make: dict[str, Callable[[], Certificate]] = {
        "another authority's": lambda: site.stranger.issue("lab-1", "clientAuth"),
        "over": lambda: site.authority.issue("over", "clientAuth", days=-1),
        "absent": lambda: Certificate(tmp_path / "absent.pem", tmp_path / "absent.key"),
        "of another key": lambda: Certificate(site.mine.cert, site.stranger.certificate.key),
    }
    shown = make[kind]()
    failed, said = ping(site.lab(tmp_path, client_cert=shown.cert, client_key=shown.key))
    assert failed == "client certificate"
    assert ("-    TLS" in said) == (kind in ("absent", "of another key")), "TLS was tested where it says so"


def test_a_clock_that_differs_is_told_with_its_direction() -> None:
    told = {skew: skew_in_words(skew) for skew in (-0.04, 0.04, -0.3, 12.34)}
    assert list(told.values()) == [
        "agrees with the receiver's",
        "agrees with the receiver's",
        "is 0.3 s behind the receiver's",
        "is 12.3 s ahead of the receiver's",
    ]


@pytest.mark.parametrize("content", ["wrong", "", None])
def test_a_token_that_is_wrong_empty_or_absent(site: Site, tmp_path: Path, content: str | None) -> None:
    lab = site.lab(tmp_path)
    lab.token.unlink() if content is None else lab.token.write_text(content)
    failed, said = ping(lab)
    assert (failed, "token_file" in said) == ("token", True)


def test_something_else_than_the_receiver_answers(tmp_path: Path) -> None:
    with _some_web_server(tmp_path) as port:
        told = json.loads(
            Lab(tmp_path, f"http://127.0.0.1:{port}").run("cis490-shipper", "--ping", "--json").stdout
        )
    assert [stage["ok"] for stage in told["stages"]] == [True, True, True, True, None, None, False]
    assert "something else" in told["stages"][-1]["remedy"]


@contextlib.contextmanager
def _some_web_server(folder: Path) -> Iterator[int]:
    log = folder / "web.log"
    with log.open("wb") as stream:
        command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
        server = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=subprocess.DEVNULL)
    try:
        until(lambda: b" port " in log.read_bytes(), "a web server")
        yield int(log.read_text().split(" port ")[1].split()[0])
    finally:
        server.kill()
        server.wait()


def test_a_configuration_that_cannot_be_used_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "https://localhost")
    for keys, words in (
        ({"reciever_url": "x"}, "did you mean receiver_url?"),
        ({"receiver_url": "localhost"}, "receiver_url in"),
        ({"host_id": "../x"}, "host_id in"),
        ({"client_cert": "/x"}, "client_key"),
    ):
        before = dict(lab.keys)
        lab.write(**keys)
        done = lab.run("cis490-shipper", "--ping")
        lab.keys = before
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert words in done.stderr

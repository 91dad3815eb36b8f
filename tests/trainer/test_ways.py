"""mirror names what stands between it and the receiver, in one sentence that ends with what to do."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from cis490_receiver.trainer import Dataset
from cis490_receiver.trainer.failures import DatasetFailed
from tests.client.tls import terminating
from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.caddy import Authority, Certificate
from tests.support.receiver import BIN, TOKEN, Receiver, clean_environment, put_headers


@dataclass(frozen=True)
class Way:
    """A receiver with one episode behind TLS that asks for a certificate, and what a trainer shows to it."""

    url: str
    plain_port: int
    folder: Path
    authority: Authority
    stranger: Authority
    mine: Certificate

    def options(self, **changes: object) -> dict[str, object]:
        token = self.folder / "token"
        token.write_text(TOKEN)
        given = {"ca-file": self.authority.certificate.cert, "cert": self.mine.cert, "key": self.mine.key}
        return {"token-file": token, **given, **changes}


@pytest.fixture(scope="module")
def way(shared_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("way")
    authority = Authority(need("openssl"), folder / "ca", "lab")
    stranger = Authority(need("openssl"), folder / "stranger", "stranger")
    server, mine = authority.issue("localhost", "serverAuth"), authority.issue("trainer", "clientAuth")
    assert shared_receiver.put("h", "e", make_episode(1)).status == 201
    with terminating(server, authority.certificate.cert, shared_receiver.port) as port:
        yield Way(f"https://localhost:{port}", shared_receiver.port, folder, authority, stranger, mine)


def mirror(url: str, folder: Path, options: dict[str, object]) -> subprocess.CompletedProcess[str]:
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    command = [str(BIN / "cis490-receiver"), "mirror", url, str(folder), "--json", *given]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True)


def test_it_shows_its_certificate_and_checks_the_receivers(way: Way, tmp_path: Path) -> None:
    done = mirror(way.url, tmp_path / "m", way.options())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fetched"] == 1


def test_a_dataset_reads_over_tls_with_a_certificate(way: Way, tmp_path: Path) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", way.plain_port)) as connection:
        for number in range(12):
            archive = make_episode(number, size=200_000)
            connection.request(
                "PUT", f"/v1/episodes/d/e{number:02}.tar.zst", archive.data, put_headers(archive)
            )
            assert connection.getresponse().read()
    given = {"ca_file": way.authority.certificate.cert, "cert": way.mine.cert, "key": way.mine.key}
    for cache in (False, tmp_path):
        data = Dataset(way.url, TOKEN, cache=cache, host="d", **given)
        sizes = [len(episode.read_bytes("telemetry.bin")) for episode in data]
        assert sizes == [200_000] * 12
    with pytest.raises(DatasetFailed, match="give cert= and key="):
        len(Dataset(way.url, TOKEN, cache=False, ca_file=way.authority.certificate.cert))


def no_name(way: Way) -> tuple[str, dict[str, object]]:
    return "https://no-such-host.invalid", way.options()


def nobody_there(way: Way) -> tuple[str, dict[str, object]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"https://localhost:{port}", way.options()


def other_authority(way: Way) -> tuple[str, dict[str, object]]:
    return way.url, way.options(**{"ca-file": way.stranger.certificate.cert})


def other_name(way: Way) -> tuple[str, dict[str, object]]:
    return way.url.replace("localhost", "127.0.0.1"), way.options()


def no_tls(way: Way) -> tuple[str, dict[str, object]]:
    return f"https://localhost:{way.plain_port}", way.options()


def no_certificate(way: Way) -> tuple[str, dict[str, object]]:
    return way.url, way.options(cert=None, key=None)


def strangers_certificate(way: Way) -> tuple[str, dict[str, object]]:
    shown = way.stranger.issue("trainer", "clientAuth")
    return way.url, way.options(cert=shown.cert, key=shown.key)


def wrong_token(way: Way) -> tuple[str, dict[str, object]]:
    path = way.folder / "wrong"
    path.write_text("wrong")
    return way.url, way.options(**{"token-file": path})


STAGES = {
    no_name: ("DNS", "check the name in the URL"),
    nobody_there: ("TCP", "that the port in the URL is right"),
    other_authority: ("TLS", "as --ca-file"),
    other_name: ("TLS", "say the name in the URL that stands in the receiver's certificate"),
    no_tls: ("TLS", "check the URL (https, the right name and port)"),
    no_certificate: ("client certificate", "give --cert and --key"),
    strangers_certificate: ("client certificate", "check --cert and --key"),
    wrong_token: ("token", "--token-file"),
}


@pytest.mark.parametrize("make", STAGES, ids=lambda make: make.__name__)
def test_the_stage_that_fails_is_named_with_its_remedy(
    way: Way, tmp_path: Path, make: Callable[[Way], tuple[str, dict[str, object]]]
) -> None:
    stage, remedy = STAGES[make]
    url, options = make(way)
    done = mirror(url, tmp_path / "m", options)
    told = json.loads(done.stdout)
    assert (done.returncode, told["stage"], told["code"]) == (1, stage, "mirror-failed")
    assert told["error"].startswith("cannot read the receiver's index: ") and remedy in told["error"]
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    for key_of_a_lab_host in ("receiver_url", "client_cert", "ca_file", "token_file", "shipper"):
        assert key_of_a_lab_host not in told["error"]


@pytest.mark.parametrize("option", ["ca-file", "cert"])
def test_a_file_that_cannot_be_used_is_wrong_usage_and_named(way: Way, tmp_path: Path, option: str) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    done = mirror(way.url, tmp_path / "m", way.options(**{option: empty}))
    assert (done.returncode, f"--{option} {empty}" in done.stderr) == (2, True)

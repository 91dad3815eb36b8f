"""Requests to the real receiver."""

from __future__ import annotations

import email.utils
import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cis490_receiver import protocol
from cis490_receiver.client.transport import LARGE_BYTES, Transport
from cis490_receiver.http_client import failures
from cis490_receiver.http_client.backoff import Backoff
from tests.client.hosts import Lab, plain_environment
from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.caddy import SITE, Authority, Caddy
from tests.support.receiver import Receiver, put_headers


def headers_of(path: Path) -> dict[str, str]:
    return {protocol.HEADER_SHA256: hashlib.sha256(path.read_bytes()).hexdigest()}


def large_file(folder: Path, size: int, *, zeros: int = 1) -> Path:
    path = folder / "large"
    path.write_bytes(b"x" * zeros)
    with path.open("r+b") as stream:
        stream.truncate(size)
    return path


def test_a_large_refused_body_never_leaves(shared_receiver: Receiver, tmp_path: Path) -> None:
    shared_receiver.put("held", "e", make_episode(1))
    path = large_file(tmp_path, 300 << 20)
    sent: list[int] = []
    transport = Transport(Lab.of(tmp_path / "lab", shared_receiver).host)
    reply = transport.put_file(path, protocol.episode_path("held", "e"), headers_of(path), sent=sent.append)
    assert (reply.status, reply.says("status"), sent) == (409, "conflict", [])


def test_an_answer_that_comes_while_the_body_is_sent_ends_it(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(max_episode_bytes=LARGE_BYTES)
    path = large_file(tmp_path, 300 << 20)
    sent: list[int] = []
    transport = Transport(Lab.of(tmp_path / "lab", receiver).host)
    reply = transport.put_file(path, protocol.episode_path("h", "e"), headers_of(path), sent=sent.append)
    assert reply.status == 413
    assert sum(sent) < 300 << 20


def test_behind_caddy_too_a_large_refused_body_never_leaves(
    start_receiver: Callable[..., Receiver], tmp_path: Path, names_are_here: None
) -> None:
    caddy_program, openssl = need("caddy"), need("openssl")
    socket_path = tmp_path / "http.sock"
    receiver = start_receiver(bind=f"unix:{socket_path}")
    authority = Authority(openssl, tmp_path / "ca", "lab")
    mine = authority.issue("lab-1", "clientAuth")
    server = authority.issue(SITE, "serverAuth")
    caddy = Caddy(caddy_program, tmp_path / "caddy", socket_path, server, authority.certificate.cert)
    caddy.start()
    try:
        lab = Lab(tmp_path / "lab", f"https://{SITE}:{caddy.port}")
        lab.write(client_cert=mine.cert, client_key=mine.key, ca_file=authority.certificate.cert)
        transport = Transport(lab.host)
        receiver.put("h", "e", make_episode(1))
        path = large_file(tmp_path, 200 << 20)
        sent: list[int] = []
        reply = transport.put_file(path, protocol.episode_path("h", "e"), headers_of(path), sent=sent.append)
        assert (reply.status, reply.says("status")) == (409, "conflict")
        assert sent == []
        assert receiver.stored().keys() == {("h", "e.tar.zst")}
        stored = large_file(tmp_path, 5 << 20)
        reply = transport.put_file(stored, protocol.episode_path("h", "f"), headers_of(stored))
        assert reply.status == 201
    finally:
        caddy.stop()


@pytest.fixture
def names_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the site is this machine's, as /etc/hosts would have it."""
    look_up = socket.getaddrinfo

    def here(name: str, *arguments: object, **options: object) -> object:
        return look_up("127.0.0.1" if name == SITE else name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", here)


PUT_AND_MEASURE = """
import resource, sys
from pathlib import Path
from cis490_receiver.client.config import load
from cis490_receiver.client.transport import Transport
transport = Transport(load())
transport.ping()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reply = transport.put_file(Path(sys.argv[1]), "/v1/episodes/h/e.tar.zst", {"X-Content-SHA256": sys.argv[2]})
print(reply.status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(receiver: Receiver, tmp_path: Path) -> None:
    path = large_file(tmp_path, 256 << 20)
    lab = Lab.of(tmp_path / "lab", receiver)
    digest = headers_of(path)[protocol.HEADER_SHA256]
    done = subprocess.run(
        [sys.executable, "-c", PUT_AND_MEASURE, str(path), digest],
        env=plain_environment() | {"CIS490_LAB_CONFIG": str(lab.config)},
        capture_output=True,
        text=True,
        check=True,
    )
    status, grown_kib = done.stdout.split()
    assert status == "201"
    assert int(grown_kib) < 4096


def test_a_file_that_is_cut_while_it_is_sent_is_no_answer(receiver: Receiver, tmp_path: Path) -> None:
    path = large_file(tmp_path, 64 << 20)
    transport = Transport(Lab.of(tmp_path / "lab", receiver).host)

    def cut(_bytes: int) -> None:
        with path.open("r+b") as stream:
            stream.truncate(1 << 20)

    with pytest.raises(failures.FileChanged):
        transport.put_file(path, protocol.episode_path("h", "e"), headers_of(path), sent=cut)
    assert receiver.stored() == {}


def test_a_token_file_is_read_anew_for_each_request(shared_receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", shared_receiver)
    good = lab.token.read_text()
    lab.token.write_text("another")
    transport = Transport(lab.host)
    assert transport.ping().status == 401
    lab.token.write_text(good)
    assert transport.ping().status == 200


def test_the_wait_doubles_and_is_never_shorter_than_asked_for() -> None:
    always_least = Backoff(first_seconds=2, max_seconds=60, rng=lambda: 0.0)
    assert [always_least.next_seconds() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert always_least.next_seconds(300) == 300
    always_most = Backoff(first_seconds=2, max_seconds=60, rng=lambda: 1.0)
    assert always_most.next_seconds() == 2
    assert always_most.next_seconds(300) == 375


def test_retry_after_is_a_number_or_a_date(shared_receiver: Receiver, tmp_path: Path) -> None:
    reply = Transport(Lab.of(tmp_path / "lab", shared_receiver).host).ping()
    assert reply.retry_after_seconds is None
    reply.headers["Retry-After"] = "120"
    assert reply.retry_after_seconds == 120
    reply.headers.replace_header("Retry-After", email.utils.formatdate(time.time() + 100, usegmt=True))
    assert 90 < (reply.retry_after_seconds or 0) <= 101
    reply.headers.replace_header("Retry-After", "soon")
    assert reply.retry_after_seconds is None


def test_persistence_ends_with_the_answer_and_obeys_retry_after(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(disk_reserve_bytes=1 << 48)
    transport = Transport(Lab.of(tmp_path / "lab", receiver).host)
    archive = make_episode(1)
    path = tmp_path / "e"
    path.write_bytes(archive.data)
    waits: list[float] = []
    reply = transport.persist(
        lambda: transport.put_file(path, protocol.episode_path("h", "e"), put_headers(archive)),
        attempts=3,
        sleep=waits.append,
    )
    assert reply.status == 507
    assert len(waits) == 2 and min(waits) >= 300

"""A client certificate is renewed in time, and never lost over it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cis490_receiver.client import certificate
from tests.client.hosts import Lab
from tests.client.tls import terminating
from tests.conftest import need
from tests.support.caddy import Authority
from tests.support.receiver import Receiver


class Host:
    """A lab host with a certificate in a folder that is a link, and an authority that signs new ones."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.authority = Authority(need("openssl"), folder / "ca", "lab")
        first = folder / "etc" / "tls-first"
        first.mkdir(parents=True)
        (folder / "etc" / "tls").symlink_to("tls-first")
        self.tls = folder / "etc" / "tls"
        self.next_certificate(days=5)
        shutil.copy(folder / "next.pem", first / "client.pem")
        shutil.copy(folder / "next.key", first / "client.key")
        self.lab = Lab(
            folder / "lab",
            url,
            client_cert=self.tls / "client.pem",
            client_key=self.tls / "client.key",
            ca_file=self.authority.certificate.cert,
        )
        self.renew_with('cp "$HERE/next.pem" "$NEW_CERT" && cp "$HERE/next.key" "$NEW_KEY"')

    def next_certificate(self, *, days: int, by: Authority | None = None) -> None:
        made = (by or self.authority).issue("lab-1", "clientAuth", days=days)
        shutil.copy(made.cert, self.folder / "next.pem")
        shutil.copy(made.key, self.folder / "next.key")

    def renew_with(self, script: str) -> None:
        path = self.folder / "renew"
        path.write_text(f"#!/bin/sh\nHERE={self.folder}\n{script}\n")
        path.chmod(0o755)
        self.lab.write(renew_command=[str(path)])

    def fetch(self, *arguments: str) -> tuple[int, str]:
        done = self.lab.run("cis490-shipper", "cert-fetch", *arguments)
        return done.returncode, done.stdout + done.stderr

    def in_force(self) -> tuple[bytes, bytes]:
        return (self.tls / "client.pem").read_bytes(), (self.tls / "client.key").read_bytes()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, "https://localhost:1")


def test_a_certificate_that_ends_soon_is_replaced_with_its_key_at_once(host: Host) -> None:
    host.next_certificate(days=90)
    before = host.in_force()
    status, said = host.fetch()
    assert (status, "good for 90 days" in said) == (0, True)
    assert host.in_force() == (
        (host.folder / "next.pem").read_bytes(),
        (host.folder / "next.key").read_bytes(),
    )
    assert host.in_force() != before
    assert (host.tls / "client.key").stat().st_mode & 0o027 == 0
    status, said = host.fetch()
    assert (status, "nothing to do" in said) == (0, True)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no luck >&2; exit 3", "no luck"),
        ("true", "no certificate"),
        ('echo x >"$NEW_CERT"; echo x >"$NEW_KEY"', "no certificate"),
        (
            'cp "$HERE/etc/tls/client.pem" "$NEW_CERT"; cp "$HERE/etc/tls/client.key" "$NEW_KEY"',
            "not last longer",
        ),
        ('cp "$HERE/next.pem" "$NEW_CERT"; cp "$HERE/etc/tls/client.key" "$NEW_KEY"', "of no use"),
        ('cp "$HERE/next.pem" "$NEW_CERT"', "of no use"),
    ],
)
def test_the_old_one_stays_when_there_is_no_better(host: Host, script: str, reason: str) -> None:
    host.next_certificate(days=90)
    host.renew_with(script)
    before = host.in_force()
    status, said = host.fetch()
    assert (status, reason in said, "stays" in said) == (1, True, True), said
    assert host.in_force() == before
    assert [path.name for path in host.tls.parent.iterdir() if path.name != "tls"] == ["tls-first"]


def test_the_old_one_stays_when_the_receiver_does_not_take_the_new(
    shared_receiver: Receiver, tmp_path: Path
) -> None:
    host = Host(tmp_path, "https://localhost:1")
    server = host.authority.issue("localhost", "serverAuth")
    stranger = Authority(need("openssl"), tmp_path / "stranger", "stranger")
    with terminating(server, host.authority.certificate.cert, shared_receiver.port) as port:
        host.lab.write(receiver_url=f"https://localhost:{port}")
        before = host.in_force()
        host.next_certificate(days=90, by=stranger)
        status, said = host.fetch()
        assert (status, host.in_force()) == (1, before), said
        host.next_certificate(days=90)
        status, said = host.fetch()
        assert status == 0, said
        assert host.lab.run("cis490-shipper", "--ping").returncode == 0


def test_old_pairs_do_not_pile_up(host: Host) -> None:
    for number in range(5):
        host.next_certificate(days=90 + number)
        assert host.fetch("--force")[0] == 0
    folders = [path for path in host.tls.parent.iterdir() if not path.is_symlink()]
    assert len(folders) == 3
    assert host.tls.resolve() in folders


def test_what_a_certificate_says_is_read(host: Host) -> None:
    found = certificate.read(host.tls / "client.pem")
    assert "lab-1" in found.subject
    assert 4.9 < found.days_left(os.stat(host.tls / "client.pem").st_mtime) < 5.1
    with pytest.raises(ValueError, match="no certificate"):
        certificate.read(host.lab.token)

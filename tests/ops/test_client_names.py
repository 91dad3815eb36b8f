"""Which certificates ship as ``lab-1``, through the real Caddy, with an authority that signs whatever it is sent."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.client.site import Site, serving
from tests.support.archives import make_episode
from tests.support.caddy import Certificate, Client
from tests.support.receiver import Answer, put_headers, read_answer

CN, O, OU, SERIAL = (  # noqa: E741
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.SERIAL_NUMBER,
)
OTHER = x509.ObjectIdentifier("1.2.3.4")
Rdn = list[tuple[x509.ObjectIdentifier, str]]

OWN: dict[str, list[Rdn]] = {
    "alone": [[(CN, "lab-1")]],
    "in a lab": [[(O, "lab")], [(OU, "räume, 2+3")], [(CN, "lab-1")]],
    "multi-valued": [[(CN, "lab-1"), (OU, "CN=lab-2")]],
    "of an unknown type": [[(OTHER, "CN=lab-2")], [(CN, "lab-1")]],
    "beside what looks like others": [[(O, "x,CN=lab-2")], [(OU, "a/CN=lab-2")], [(CN, "lab-1")]],
}
OTHERS: dict[str, list[Rdn]] = {
    "escaped comma in a serial number": [[(CN, "lab-2")], [(SERIAL, "9,CN=lab-1")]],
    "escaped comma in an organization": [[(CN, "lab-2")], [(O, "x,CN=lab-1")]],
    "slash in a unit": [[(CN, "lab-2")], [(OU, "a/CN=lab-1")]],
    "slash in the name": [[(CN, "lab-1/x")]],
    "slashes all over": [[(CN, "x/CN=lab-1/CN=lab-1")]],
    "plus in the name": [[(CN, "lab-2+CN=lab-1")]],
    "comma in the name": [[(CN, "lab-1,O=lab")]],
    "backslash in the name": [[(CN, "lab-1\\")]],
    "backslash before a comma": [[(CN, "lab-2\\,CN=lab-1")]],
    "quotes": [[(CN, '"lab-1"')]],
    "two names, ours first": [[(CN, "lab-1")], [(CN, "lab-2")]],
    "two names, ours last": [[(CN, "lab-2")], [(CN, "lab-1")]],
    "two names at once": [[(CN, "lab-2"), (CN, "lab-1")]],
    "twice ours": [[(CN, "lab-1")], [(CN, "lab-1")]],
    "no name": [[(O, "lab-1")]],
    "no name but in a unit": [[(OU, "a/CN=lab-1")]],
    "no name but in an organization": [[(O, "x,CN=lab-1")]],
    "its type in an unknown one": [[(OTHER, "lab-1")], [(O, "CN=lab-1")]],
    "space behind": [[(CN, "lab-1 ")]],
    "space before": [[(CN, " lab-1")]],
    "tab behind": [[(CN, "lab-1\t")]],
    "newline behind": [[(CN, "lab-1\n")]],
    "NUL behind": [[(CN, "lab-1\0")]],
    "NUL between": [[(CN, "lab-1\0.evil")]],
    "another case": [[(CN, "LAB-1")]],
    "Cyrillic a": [[(CN, "l\u0430b-1")]],
    "full-width one": [[(CN, "lab-\uff11")]],
    "another hyphen": [[(CN, "lab\u20101")]],
    "zero-width space": [[(CN, "lab-1\u200b")]],
    "combining mark": [[(CN, "lab-1\u0301")]],
    "hash": [[(CN, "#0c056c61622d31")]],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(Site(tmp_path_factory.mktemp("names"), bind_client_certificates=True)) as made:
        yield made


def sign(site: Site, folder: Path, rdns: list[Rdn]) -> Certificate:
    """A certificate of the site's authority, for whatever subject."""
    authority = x509.load_pem_x509_certificate(site.ours.certificate.cert.read_bytes())
    signer = load_pem_private_key(site.ours.certificate.key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        x509.RelativeDistinguishedName(x509.NameAttribute(oid, value, _validate=False) for oid, value in rdn)
        for rdn in rdns
    )
    now = dt.datetime.now(dt.UTC)
    hour = dt.timedelta(hours=1)
    builder = x509.CertificateBuilder(
        authority.subject, subject, key.public_key(), x509.random_serial_number(), now - hour, now + hour
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    made = Certificate(folder / "host.pem", folder / "host.key")
    made.cert.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def ship(site: Site, certificate: Certificate, host: str, name: str, **headers: str) -> Answer | None:
    """The answer to a PUT; None where Caddy refused the certificate."""
    archive = make_episode(1)
    client = Client(site.caddy.port, site.ours.certificate.cert, certificate)
    try:
        connection = client.connect(sni=site.name)
    except OSError:
        return None
    with contextlib.closing(connection):
        connection.host = site.name
        path = f"/v1/episodes/{host}/{name}.tar.zst"
        connection.request("PUT", path, archive.data, put_headers(archive, **headers))
        return read_answer(connection)


@pytest.mark.parametrize("kind", OWN)
def test_a_certificate_of_one_name_ships_under_it_and_no_other(site: Site, tmp_path: Path, kind: str) -> None:
    certificate = sign(site, tmp_path, OWN[kind])
    name = kind.replace(" ", "-")
    spoofed = {"X_Client_Subject": "CN=lab-2", "X_Client_Certificate": "AAAA"}
    own = ship(site, certificate, "lab-1", name, **spoofed)
    other = ship(site, certificate, "lab-2", name, **spoofed)
    assert own is not None and other is not None
    assert (own.status, other.status, other.json["code"]) == (201, 403, "host-mismatch"), own.body
    assert "the client certificate is lab-1's, not lab-2's" in other.json["error"]


@pytest.mark.parametrize("kind", OTHERS)
def test_no_other_certificate_ships_as_that_host(site: Site, tmp_path: Path, kind: str) -> None:
    name = "stolen-" + kind.replace(" ", "-").replace(",", "")
    answer = ship(site, sign(site, tmp_path, OTHERS[kind]), "lab-1", name)
    # Caddy itself refuses to pass on a subject that no header can carry.
    assert answer is None or answer.status in (403, 502), answer.body
    if answer is not None and answer.status == 403:
        assert answer.json["code"] == "host-mismatch"
        assert json.dumps(answer.json).isascii()
    assert ("lab-1", f"{name}.tar.zst") not in site.receiver.stored()

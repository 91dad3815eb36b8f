"""The name in a client certificate: read by its grammars, DER and RFC 4514, beside another implementation of both."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import HostMismatch
from cis490_receiver.policy import distinguished_name
from cis490_receiver.policy.auth import Authenticator
from cis490_receiver.policy.certificate import (
    ClientCertificate,
    certificate_common_names,
    subject_common_names,
)

KEY = Ed25519PrivateKey.generate()
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SPECIAL = '\\"+,;<>#= \0/\t\n'
TYPES = [
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    x509.ObjectIdentifier("1.2.3.4"),
]

values = st.text(
    st.sampled_from(SPECIAL + "labCN-1\u0441\U0001f600") | st.characters(codec="utf-8"),
    min_size=1,
    max_size=9,
)
attributes = st.builds(
    lambda oid, value: x509.NameAttribute(oid, value, _validate=False), st.sampled_from(TYPES), values
)
names = st.lists(
    st.lists(attributes, min_size=1, max_size=3, unique=True).map(x509.RelativeDistinguishedName), max_size=4
).map(x509.Name)


def certificate(subject: x509.Name) -> str:
    """A certificate for `subject` as a proxy hands it over."""
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    builder = x509.CertificateBuilder(issuer, subject, KEY.public_key(), 1, NOW, NOW)
    return base64.b64encode(builder.sign(KEY, None).public_bytes(Encoding.DER)).decode("ascii")


def in_wsgi(text: str) -> str:
    return text.encode("utf-8").decode("latin-1")


def common_names(subject: x509.Name) -> list[str]:
    return sorted(one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME))


@given(names)
def test_every_name_is_read_as_it_was_written(subject: x509.Name) -> None:
    written = [(one.oid, one.value) for rdn in reversed(list(subject.rdns)) for one in rdn]
    read = distinguished_name.parse(subject.rfc4514_string())
    assert [one.value for one in read] == [value for _, value in written]
    assert sorted(subject_common_names(in_wsgi(subject.rfc4514_string()))) == common_names(subject)
    assert sorted(certificate_common_names(certificate(subject))) == common_names(subject)


@given(st.text('CNO=lab-1,+\\"#;<> 2C/', max_size=30))
@example("O=x\\,CN=lab-1,CN=lab-2")
@example("CN=a  b,O=\\ ")
@example("CN=#zz")
@example("CN=a ")
def test_no_text_is_read_otherwise_than_another_parser_reads_it(text: str) -> None:
    with contextlib.suppress(ValueError):
        ours = distinguished_name.parse(text)
        if all(
            one.value and one.type in ("CN", "O", "C", "OU") and isinstance(one.value, str) for one in ours
        ):
            theirs = x509.Name.from_rfc4514_string(text)
            flat = [(rdn_one.oid, rdn_one.value) for rdn in reversed(list(theirs.rdns)) for rdn_one in rdn]
            assert [one.value for one in ours] == [value for _, value in flat]


@pytest.mark.parametrize(
    "subject",
    [
        "CN=lab-1,", ",CN=lab-1", "CN=lab-1,,O=x", "CN", "=lab-1", "CN =lab-1", " CN=lab-1", "CN= lab-1", "CN=lab-1 ",
        "CN=lab-1, O=x", "CN=lab-1;O=x", 'CN="lab-1"', "CN=lab-1\0", "CN=lab-1\\", "CN=lab-1\\q", "CN=\\ff",
        "CN=#", "CN=#0c0", "CN=#0c056c61622d31x", "OID.2.5.4.3=lab-1", "2.5.4.03=lab-1", "C_N=lab-1", "CN=\xff",
        "/O=lab/CN=lab-1", "CN=<lab-1>", "CN=#lab-1",
    ],
)  # fmt: skip
def test_what_is_not_a_name_as_a_whole_is_none(subject: str) -> None:
    with pytest.raises(HostMismatch, match="names no host: its subject is not"):
        ClientCertificate(subject).require_host("lab-1")


@pytest.mark.parametrize(
    "subject",
    ["CN=lab-1", "cn=lab-1,O=lab", "2.5.4.3=lab-1", "commonName=lab-1", "O=a\\,CN\\=b+CN=lab-1,OU=", "CN=\\6c\\61b-1",
     "CN=#0c056c61622d31", "1.2.3=#040101,O=CN=lab-2/CN=lab-2,CN=lab-1,O=x=y"],
)  # fmt: skip
def test_one_common_name_is_the_hosts(subject: str) -> None:
    ClientCertificate(subject).require_host("lab-1")
    with pytest.raises(HostMismatch, match="is lab-1's, not lab-2's"):
        ClientCertificate(subject).require_host("lab-2")


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("SERIALNUMBER=9\\,CN=lab-1,CN=lab-2", "is lab-2's, not lab-1's"),
        ("O=x\\,CN=lab-1,CN=lab-2", "is lab-2's, not lab-1's"),
        ("OU=a/CN=lab-1,CN=lab-2", "is lab-2's, not lab-1's"),
        ("CN=lab-1/x", "is lab-1/x's, not lab-1's"),
        ("CN=LAB-1", "is LAB-1's, not lab-1's"),
        ("CN=lab-1\\ ", """is "lab-1 "'s, not lab-1's"""),
        ("CN=lab-1\\00", r"""is "lab-1\\u0000"'s, not lab-1's"""),
        (in_wsgi("CN=l\u0430b-1"), r"""is "l\\u0430b-1"'s, not lab-1's"""),
        ("CN=", "is \"\"'s, not lab-1's"),
        ("CN=lab-1,CN=lab-1", "it has 2 common names, not one"),
        ("CN=lab-1+2.5.4.3=lab-2", "it has 2 common names, not one"),
        ("O=lab-1", "it has 0 common names, not one"),
        ("", "it has 0 common names, not one"),
        ("CN=#04056c61622d31", "its common name is neither a UTF8String"),
        (None, "no proxy that is trusted says"),
    ],
)
def test_another_name_is_refused_with_what_is_true(subject: str | None, why: str) -> None:
    with pytest.raises(HostMismatch, match=why):
        ClientCertificate(subject).require_host("lab-1")


def test_subject_and_certificate_must_agree() -> None:
    def made(*common_names: str) -> str:
        return certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common_names]))

    ClientCertificate("CN=lab-1", made("lab-1")).require_host("lab-1")
    for subject, der_base64 in [
        ("CN=lab-1", made("lab-2", "lab-1")),
        ("CN=lab-1", made("lab-1\t")),
        ("CN=lab-1", made("lab-2")),
        ("CN=lab-2", made("lab-1")),
        ("CN=lab-1", made()),
        ("CN=lab-1", ""),
        ("CN=lab-1", "?"),
        (None, made("lab-1")),
    ]:
        with pytest.raises(HostMismatch):
            ClientCertificate(subject, der_base64).require_host("lab-1")


SOUND = base64.b64decode(certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab-1")])))


@given(st.integers(0, len(SOUND) - 1), st.binary(max_size=4), st.booleans())
def test_a_damaged_certificate_is_refused_and_nothing_else(at: int, bytes_: bytes, cut: bool) -> None:
    damaged = SOUND[:at] + bytes_ + (b"" if cut else SOUND[at + len(bytes_) :])
    with contextlib.suppress(ValueError):
        certificate_common_names(base64.b64encode(damaged).decode("ascii"))


def authenticator(**settings: Any) -> Authenticator:
    return Authenticator(dataclasses.replace(Settings(), **settings), SystemClock(), None)


def test_a_certificates_name_is_believed_from_the_proxy_alone() -> None:
    settings = {"trusted_proxies": ("10.0.0.1",), "bind_client_certificates": True}
    headers = {"X-Client-Subject": "CN=lab-07,O=cis490"}
    for address in ("", "10.0.0.1"):
        principal = authenticator(**settings).authenticate(headers, address)
        principal.require_host("lab-07")
        with pytest.raises(HostMismatch):
            principal.require_host("lab-08")
    stranger = authenticator(**settings).authenticate(headers, "10.0.0.2")
    with pytest.raises(HostMismatch):
        stranger.require_host("lab-07")
    unbound = authenticator().authenticate({}, "10.0.0.2")
    unbound.require_host("lab-07")

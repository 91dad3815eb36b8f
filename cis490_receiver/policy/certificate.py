"""The client certificate that a proxy verified, and the one name in it.

A proxy hands over the subject as text, and may hand over the certificate itself. Text alone does not tell all:
Go, and so Caddy, writes only the last of several common names, and a header loses a tab at its end. So where the
certificate is there, both must have the same common name and no other. Asking for both, rather than for
either, leaves nothing to gain for a client whose proxy lets one of the two headers through from outside.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cis490_receiver.errors import HostMismatch
from cis490_receiver.logfmt import quoted
from cis490_receiver.policy import distinguished_name
from cis490_receiver.policy.headers import Headers
from cis490_receiver.policy.remedies import OTHER_HOST

#: What the proxy sets from the certificate that it verified, and strips from what a client sends: the subject
#: (RFC 4514), and the certificate (DER in base64).
HEADER_SUBJECT: Final = "X-Client-Subject"
HEADER_CERTIFICATE: Final = "X-Client-Certificate"

#: commonName, 2.5.4.3 (RFC 4519 §2.3), as text and as DER has it.
_COMMON_NAME_TYPES: Final = ("cn", "commonname", "2.5.4.3")
_COMMON_NAME_OID: Final = b"\x55\x04\x03"

# Tags of DER (X.690 §8).
_SEQUENCE, _SET, _OID, _VERSION = 0x30, 0x31, 0x06, 0xA0
_CHARSETS: Final = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}
#: Where the subject stands in a TBSCertificate without its version (RFC 5280 §4.1).
_SUBJECT_FIELD: Final = 4


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a trusted proxy says of the certificate; None for what it does not say."""

    subject: str | None = None
    der_base64: str | None = None

    @classmethod
    def of(cls, headers: Headers) -> ClientCertificate:
        """The certificate of a request whose sender is to be believed."""
        return cls(
            headers.get(HEADER_SUBJECT, "") if HEADER_SUBJECT in headers else None,
            headers.get(HEADER_CERTIFICATE, "") if HEADER_CERTIFICATE in headers else None,
        )

    def require_host(self, host_id: str) -> None:
        """Raises:
        HostMismatch: `host_id` is not, byte for byte, the one common name of the certificate.
        """
        try:
            name = self._common_name()
        except ValueError as exc:
            raise HostMismatch(
                f"the client certificate names no host: {exc}", remediation=OTHER_HOST
            ) from None
        if name != host_id:
            raise HostMismatch(
                f"the client certificate is {quoted(name)}'s, not {host_id}'s", remediation=OTHER_HOST
            )

    def _common_name(self) -> str:
        if self.subject is None:
            raise ValueError("no proxy that is trusted says who showed one")
        name = _only(subject_common_names(self.subject))
        if self.der_base64 is not None and _only(certificate_common_names(self.der_base64)) != name:
            raise ValueError("the certificate itself has another common name than the proxy says")
        return name


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise ValueError(f"it has {len(names)} common names, not one")
    return names[0]


def subject_common_names(header: str) -> list[str]:
    """The common names in a subject; `header` is UTF-8 read as Latin-1, as WSGI has it (PEP 3333).

    Raises:
        ValueError: it is not a distinguished name, or a common name in it is not text.
    """
    try:
        subject = header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise ValueError("its subject is not UTF-8") from None
    try:
        attributes = distinguished_name.parse(subject)
    except ValueError as exc:
        raise ValueError(f"its subject is not a distinguished name (RFC 4514): {exc}") from None
    names = []
    for attribute in attributes:
        if attribute.type.lower() not in _COMMON_NAME_TYPES:
            continue
        value = attribute.value
        names.append(value if isinstance(value, str) else _text(*_single(value)))
    return names


def certificate_common_names(der_base64: str) -> list[str]:
    """The common names in the subject of a certificate (RFC 5280 §4.1).

    Raises:
        ValueError: it is not one, or a common name in it is not text.
    """
    try:
        der = base64.b64decode(der_base64, validate=True)
    except ValueError:
        raise ValueError("it is not base64") from None
    tbs = next(_elements(_content(_single(der), _SEQUENCE)), (0, b""))
    fields = list(_elements(_content(tbs, _SEQUENCE)))
    if fields and fields[0][0] == _VERSION:
        del fields[0]
    if len(fields) <= _SUBJECT_FIELD:
        raise ValueError("it is not a certificate")
    names = []
    for relative_name in _elements(_content(fields[_SUBJECT_FIELD], _SEQUENCE)):
        for attribute in _elements(_content(relative_name, _SET)):
            kind, value = _pair(_content(attribute, _SEQUENCE))
            if _content(kind, _OID) == _COMMON_NAME_OID:
                names.append(_text(*value))
    return names


_Element = tuple[int, bytes]


def _text(tag: int, content: bytes) -> str:
    if tag not in _CHARSETS:
        raise ValueError("its common name is neither a UTF8String nor a PrintableString nor an IA5String")
    try:
        return content.decode(_CHARSETS[tag])
    except UnicodeError:
        raise ValueError("its common name is not text") from None


def _elements(data: bytes) -> Iterator[_Element]:
    """The tags and contents that `data` is made of, as DER has them: definite lengths, each in its shortest form
    (X.690 §10.1)."""
    position = 0
    while position < len(data):
        tag, start = data[position], position + 2
        length = data[position + 1] if start <= len(data) else 0x80
        if length >= 0x80:
            size = length - 0x80
            digits = data[start : start + size]
            length, start = int.from_bytes(digits, "big"), start + size
            if not 1 <= size <= 3 or length < 0x80 or digits[0] == 0:
                raise ValueError("it is not DER")
        position = start + length
        if tag & 0x1F == 0x1F or position > len(data):
            raise ValueError("it is not DER")
        yield tag, data[start:position]


def _single(data: bytes) -> _Element:
    elements = list(_elements(data))
    if len(elements) != 1:
        raise ValueError("it is not DER")
    return elements[0]


def _pair(data: bytes) -> tuple[_Element, _Element]:
    elements = list(_elements(data))
    if len(elements) != 2:
        raise ValueError("it is not a certificate")
    return elements[0], elements[1]


def _content(element: _Element, tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError("it is not a certificate")
    return element[1]

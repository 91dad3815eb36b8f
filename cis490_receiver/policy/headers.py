"""What a PUT's headers say, in the order in which the contract checks them."""

from __future__ import annotations

import logging
import re
from typing import Final, Protocol

from cis490_receiver import protocol
from cis490_receiver.errors import (
    BadContentLength,
    BadSchemaVersion,
    BadSha256Header,
    EpisodeTooLarge,
    LengthRequired,
)
from cis490_receiver.logfmt import quoted

log = logging.getLogger(__name__)


class Headers(Protocol):
    """A request's headers: a mapping whose look-up ignores the case of names."""

    def get(self, key: str, default: str) -> str:
        """The value of `key`, or `default`."""
        ...

    def __contains__(self, key: str, /) -> bool:
        """Whether `key` was sent."""
        ...


_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DIGITS: Final = re.compile(r"[0-9]+")


def content_sha256(headers: Headers) -> str:
    """X-Content-SHA256 as 64 lower-case hex digits.

    Raises:
        BadSha256Header: absent or malformed.
    """
    digest = headers.get(protocol.HEADER_SHA256, "").strip().lower()
    if not protocol.is_sha256(digest):
        raise BadSha256Header
    return digest


def schema_version(headers: Headers) -> int:
    """X-Schema-Version, 2 when absent.

    Raises:
        BadSchemaVersion: not an integer of at most 18 digits.
    """
    if protocol.HEADER_SCHEMA_VERSION not in headers:
        return protocol.SCHEMA_VERSION
    text = headers.get(protocol.HEADER_SCHEMA_VERSION, "")
    if not _INTEGER.fullmatch(text.strip()):
        raise BadSchemaVersion
    return int(text)


def code_commit(headers: Headers) -> str | None:
    """X-Cis490-Code-Commit, trimmed and lower-cased but not otherwise checked; None when absent or blank."""
    return headers.get(protocol.HEADER_CODE_COMMIT, "").strip().lower() or None


def episode_type(headers: Headers) -> str | None:
    """X-Episode-Type; an unknown value is dropped with a warning."""
    return _known(headers, protocol.HEADER_EPISODE_TYPE, protocol.EPISODE_TYPES)


def benign_profile(headers: Headers) -> str | None:
    """X-Benign-Profile; an unknown value is dropped with a warning."""
    return _known(headers, protocol.HEADER_BENIGN_PROFILE, protocol.BENIGN_PROFILES)


def _known(headers: Headers, name: str, allowed: frozenset[str]) -> str | None:
    value = headers.get(name, "").strip().lower()
    if value in allowed:
        return value
    if value:
        log.warning("dropped-header name=%s value=%s reason=unknown", name, quoted(value))
    return None


def body_length(headers: Headers, limit: int) -> int | None:
    """How many bytes of body are announced; None for a chunked body.

    Raises:
        LengthRequired: neither Content-Length nor a chunked body.
        BadContentLength: Content-Length is not a number.
        EpisodeTooLarge: more than `limit` bytes are announced.
    """
    if "Transfer-Encoding" in headers:
        return None
    digits = headers.get("Content-Length", "").strip()
    if not digits:
        raise LengthRequired
    if not (digits.isascii() and _DIGITS.fullmatch(digits)):
        raise BadContentLength
    # Python refuses to convert a number of thousands of digits, which is too large in any case.
    if len(digits.lstrip("0")) > 18 or int(digits) > limit:
        raise EpisodeTooLarge(None, max_episode_bytes=limit)
    return int(digits)

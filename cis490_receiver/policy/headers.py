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
from cis490_receiver.stamps import DECLARED, INTEGER, Declaration, Stamps

log = logging.getLogger(__name__)


class Headers(Protocol):
    """A request's headers: a mapping whose look-up ignores the case of names."""

    def get(self, key: str, default: str) -> str:
        """The value of `key`, or `default`."""
        ...

    def __contains__(self, key: str, /) -> bool:
        """Whether `key` was sent."""
        ...


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
    try:
        return int(INTEGER.parse(headers.get(protocol.HEADER_SCHEMA_VERSION, "")))
    except ValueError:
        raise BadSchemaVersion from None


def code_commit(headers: Headers) -> str | None:
    """X-Cis490-Code-Commit, trimmed and lower-cased but not otherwise checked; None when absent or blank."""
    return headers.get(protocol.HEADER_CODE_COMMIT, "").strip().lower() or None


def stamps(headers: Headers, version: int, commit: str | None) -> Stamps:
    """What the headers say of the episode, given the two that were judged before. A value that cannot be used is
    dropped with a warning."""
    said = {"schema_version": version, "code_commit": commit}
    for declared in DECLARED:
        if declared.name not in said:
            said[declared.name] = _known(headers, declared)
    return Stamps(**said)  # type: ignore[arg-type]


def _known(headers: Headers, declared: Declaration) -> str | int | None:
    text = headers.get(declared.header, "")
    try:
        return declared.grammar.parse(text) if text.strip() else None
    except ValueError:
        log.warning(
            "dropped-header name=%s value=%s reason=unknown", declared.header, quoted(text.strip().lower())
        )
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

"""What the headers of an upload in pieces say (tus 1.0.0, https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.errors import (
    BadContentLength,
    BadEpisodeName,
    BadUploadHeader,
    LengthRequired,
    ReceiverError,
    UnsupportedTusVersion,
)
from cis490_receiver.models import EpisodeKey
from cis490_receiver.policy.headers import Headers
from cis490_receiver.stamps import DECLARED

#: The names of Upload-Metadata, each with the header of a PUT that says the same.
_HEADER_OF: Final[Mapping[str, str]] = {
    "sha256": protocol.HEADER_SHA256,
    **{declared.name: declared.header for declared in DECLARED},
}
_NAME: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")
#: The longest Upload-Metadata that is taken, in characters.
_METADATA_MAX: Final = 8192


class AnnouncedHeaders:
    """Upload-Metadata, and the headers that stand for what it does not say, as the headers of a PUT: so the same rules
    judge both."""

    def __init__(self, headers: Headers, metadata: Mapping[str, str]) -> None:
        self._headers = headers
        self._said = {
            header.lower(): metadata[name] for name, header in _HEADER_OF.items() if name in metadata
        }
        if "Upload-Length" in headers:
            self._said["content-length"] = headers.get("Upload-Length", "")

    def get(self, key: str, default: str) -> str:
        """See `Headers.get`."""
        if key.lower() in ("content-length", "transfer-encoding"):
            return self._said.get(key.lower(), default)
        return self._said.get(key.lower()) or self._headers.get(key, default)

    def __contains__(self, key: str, /) -> bool:
        if key.lower() in ("content-length", "transfer-encoding"):
            return key.lower() in self._said
        return key.lower() in self._said or key in self._headers


def check_version(headers: Headers) -> None:
    """Raises:
    UnsupportedTusVersion: the client does not say that it speaks ours.
    """
    if headers.get("Tus-Resumable", "").strip() != protocol.TUS_VERSION:
        raise UnsupportedTusVersion


def is_upload_id(text: str) -> bool:
    """Whether `text` is what names of uploads look like."""
    return _UPLOAD_ID.fullmatch(text) is not None


def metadata(headers: Headers) -> dict[str, str]:
    """Upload-Metadata: names, each with a value in base64, or with none. Empty where there is none.

    Raises:
        BadUploadHeader: it is malformed, or a value is no text.
    """
    text = headers.get("Upload-Metadata", "").strip()
    if len(text) > _METADATA_MAX:
        raise BadUploadHeader(f"Upload-Metadata is longer than {_METADATA_MAX} characters")
    found: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        name, _, value = pair.strip().partition(" ")
        if not _NAME.fullmatch(name) or name in found:
            raise BadUploadHeader("Upload-Metadata must be names, each once, with values in base64")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise BadUploadHeader(
                f"the value of {name[:100]} in Upload-Metadata must be base64 of text"
            ) from None
    return found


def announced_names(headers: Headers, said: Mapping[str, str]) -> tuple[str, str]:
    """What a new upload gives as host and episode, in its metadata or else in its headers, valid or not."""
    host_id = (
        said.get("host_id")
        or headers.get(protocol.HEADER_HOST_ID, "")
        or headers.get(protocol.HEADER_LAB_HOST, "")
    )
    return host_id, said.get("episode_id") or headers.get(protocol.HEADER_EPISODE_ID, "")


def announced_key(headers: Headers, said: Mapping[str, str]) -> EpisodeKey:
    """The episode that a new upload is for.

    Raises:
        BadEpisodeName: an id is absent or breaks the id rule.
    """
    try:
        return EpisodeKey(*announced_names(headers, said))
    except ValueError:
        raise BadEpisodeName from None


def true_to_upload(error: ReceiverError) -> ReceiverError:
    """A refusal of the length, in words of Upload-Length instead of Content-Length."""
    if isinstance(error, LengthRequired):
        return LengthRequired("send Upload-Length, the size of the whole episode in bytes")
    if isinstance(error, BadContentLength):
        return BadContentLength("bad Upload-Length")
    return error


def offset(headers: Headers) -> int:
    """Upload-Offset.

    Raises:
        BadUploadHeader: absent, or not a number.
    """
    digits = headers.get("Upload-Offset", "").strip()
    if not _DIGITS.fullmatch(digits):
        raise BadUploadHeader("Upload-Offset must be a number of bytes")
    return int(digits)


def checksum(headers: Headers) -> str | None:
    """The SHA-256 in Upload-Checksum as 64 hex digits; None where there is none.

    Raises:
        BadUploadHeader: it is of another algorithm, or malformed.
    """
    text = headers.get("Upload-Checksum", "").strip()
    if not text:
        return None
    algorithm, _, value = text.partition(" ")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        digest = b""
    if algorithm.lower() != "sha256" or len(digest) != 32:
        raise BadUploadHeader("Upload-Checksum must be sha256 and the digest in base64")
    return digest.hex()

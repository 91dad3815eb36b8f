"""The words that both ends of the wire share: header names, URL shapes, enumerations and the id rule.

Imports nothing of ours, so that a lab host's shipper can use it without the server.
"""

from __future__ import annotations

import base64
import re
from typing import Final

API_PREFIX: Final = "/v1"
EPISODE_SUFFIX: Final = ".tar.zst"
EPISODE_MEDIA_TYPE: Final = "application/zstd"

HEADER_SHA256: Final = "X-Content-SHA256"
HEADER_SCHEMA_VERSION: Final = "X-Schema-Version"
HEADER_CODE_COMMIT: Final = "X-Cis490-Code-Commit"
HEADER_EPISODE_TYPE: Final = "X-Episode-Type"
HEADER_BENIGN_PROFILE: Final = "X-Benign-Profile"
HEADER_LAB_HOST: Final = "X-Lab-Host"
HEADER_HOST_ID: Final = "X-Host-Id"
HEADER_EPISODE_ID: Final = "X-Episode-Id"

#: The version of the protocol of uploads in pieces (https://tus.io/protocols/resumable-upload), and what of it
#: both ends speak.
TUS_VERSION: Final = "1.0.0"
TUS_EXTENSIONS: Final = ("creation", "creation-with-upload", "termination", "expiration", "checksum")
TUS_MEDIA_TYPE: Final = "application/offset+octet-stream"

#: The version of an episode's layout that is meant when a client names none.
SCHEMA_VERSION: Final = 2
#: No episode is larger, whatever a configuration or an index line says: 256 TiB, so that sums stay within 63 bits.
MAX_SIZE_BYTES: Final = 1 << 48

EPISODE_TYPES: Final = frozenset({"control", "infected"})
BENIGN_PROFILES: Final = frozenset(
    {
        "idle",
        "web_visitor",
        "admin_session",
        "cron_burst",
        "file_browse",
        "db_query",
        "package_check",
    }
)

#: Of an id, but that there is no ``..`` in it.
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_REPR_DIGEST: Final = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):")


def is_valid_id(text: str) -> bool:
    """Whether `text` may name a host or an episode.

    1 to 128 characters of ``A-Z a-z 0-9 . _ -``, the first one alphanumeric, no ``..``: what passes is
    a single, visible path component on every file system.
    """
    return ID.fullmatch(text) is not None and ".." not in text


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 digest as 64 lower-case hex digits."""
    return SHA256.fullmatch(text) is not None


def is_commit(text: str) -> bool:
    """Whether `text` is a git commit id as 40 lower-case hex digits."""
    return _COMMIT.fullmatch(text) is not None


UPLOADS_PATH: Final = f"{API_PREFIX}/uploads"


def episode_path(host_id: str, episode_id: str) -> str:
    """The path of an episode's URL."""
    return f"{API_PREFIX}/episodes/{host_id}/{episode_id}{EPISODE_SUFFIX}"


def repr_digest(sha256: str) -> str:
    """What the header Repr-Digest says of a representation with this SHA-256 (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"


def sha256_of_repr_digest(header: str) -> str | None:
    """The SHA-256, as hex digits, that a Repr-Digest header gives; None where it gives none."""
    found = _REPR_DIGEST.search(header)
    return base64.b64decode(found[1]).hex() if found else None

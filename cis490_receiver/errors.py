"""Everything that can go wrong, by name.

Each class carries a stable kebab-case `code`; none knows an HTTP status (`views/errors.py` does). The
message is for the client and never holds a path, a token or another exception's text; what the maintainer
needs goes to the log through `raise ... from`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ReceiverError(Exception):
    """Base of every expected failure.

    Attributes:
        code: stable identifier of the kind of failure, sent to clients.
        message: one sentence for the client.
        details: further members of the JSON answer.
    """

    code: ClassVar[str] = "error"
    default_message: ClassVar[str] = "request refused"

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or self.default_message
        self.details: Mapping[str, Any] = details
        super().__init__(self.message)


class ConfigError(ReceiverError):
    """The configuration cannot be used; the message names the key, its source and the remedy."""

    code = "bad-configuration"


# Who asks


class MissingToken(ReceiverError):
    code = "missing-bearer-token"
    default_message = "missing bearer token"


class BadToken(ReceiverError):
    code = "bad-bearer-token"
    default_message = "bad bearer token"


class ScopeMissing(ReceiverError):
    """The token is good, and not for this."""

    code = "scope-missing"
    default_message = "this token may not do this"


class HostMismatch(ReceiverError):
    """Somebody who was let in names a host that is not theirs."""

    code = "host-mismatch"
    default_message = "this is another host's"


# What the request's head says


class BadRequest(ReceiverError):
    """The request is not one that this server can read."""

    code = "bad-request"
    default_message = "bad request"


class BadSuffix(ReceiverError):
    code = "bad-suffix"
    default_message = "expected .tar.zst suffix"


class BadEpisodeName(ReceiverError):
    code = "bad-episode-name"
    default_message = "bad host_id or episode_id"


class BadSha256Header(ReceiverError):
    code = "bad-sha256-header"
    default_message = "X-Content-SHA256 header (64 hex chars) required"


class BadSchemaVersion(ReceiverError):
    code = "bad-schema-version"
    default_message = "bad X-Schema-Version"


class MissingCommit(ReceiverError):
    code = "missing-commit"
    default_message = "missing X-Cis490-Code-Commit header"


class MalformedCommit(ReceiverError):
    code = "malformed-commit"
    default_message = "X-Cis490-Code-Commit must be 40 lowercase hex"


class CommitRejected(ReceiverError):
    code = "commit-rejected"
    default_message = "code commit rejected: not in receiver's allow-list"


class GateUnavailable(ReceiverError):
    """The gate is on and its snapshot cannot be read: not the client's fault."""

    code = "gate-unavailable"
    default_message = "the receiver cannot read its list of accepted commits; try again later"


class LengthRequired(ReceiverError):
    code = "length-required"
    default_message = "send Content-Length or a chunked body"


class BadContentLength(ReceiverError):
    code = "bad-content-length"
    default_message = "bad Content-Length"


class EpisodeTooLarge(ReceiverError):
    code = "episode-too-large"
    default_message = "episode exceeds max size"


class DiskReserve(ReceiverError):
    """Taking this body would leave less free space than the configured reserve."""

    code = "disk-reserve"
    default_message = "not enough free disk space on the receiver; try again later"


# What the body turns out to be


class BodyTruncated(ReceiverError):
    code = "body-truncated"
    default_message = "the body ended early; send the episode again"


class BodyMalformed(ReceiverError):
    code = "body-malformed"
    default_message = "the body's chunked framing is broken"


class BodyTimeout(ReceiverError):
    code = "body-timeout"
    default_message = "the body came too slowly; send the episode again"


class ShaMismatch(ReceiverError):
    code = "sha-mismatch"
    default_message = "the body does not match X-Content-SHA256"

    def __init__(self, actual_sha256: str) -> None:
        super().__init__(None, status="sha-mismatch", actual_sha256=actual_sha256)


class BadArchive(ReceiverError):
    """The body is what was announced, and a trainer could not open it; `reason` says why."""

    code = "bad-archive"
    default_message = "the episode is not a .tar.zst that can be opened"

    def __init__(self, reason: str) -> None:
        super().__init__(None, reason=reason)


class Conflict(ReceiverError):
    code = "conflict"
    default_message = "another episode is stored under this name"

    def __init__(self, existing_sha256: str) -> None:
        super().__init__(None, status="conflict", existing_sha256=existing_sha256)


class ReportNotJson(ReceiverError):
    code = "report-not-json"
    default_message = "body must be JSON"


class ReportNotObject(ReceiverError):
    code = "report-not-object"
    default_message = "body must be a JSON object"


class ReportTooLarge(ReceiverError):
    code = "report-too-large"
    default_message = "report exceeds max size"


class BadHostId(ReceiverError):
    code = "bad-host-id"
    default_message = "bad host_id"


# What is asked for


class NotFound(ReceiverError):
    code = "not-found"
    default_message = "not found"


# What the receiver itself cannot do


class StorageFull(ReceiverError):
    """The file system has no space (ENOSPC, EDQUOT, EFBIG) for what had to be written."""

    code = "storage-full"
    default_message = "no space left on the receiver; try again later"


class StorageFailed(ReceiverError):
    """A write, sync or link failed; nothing is promised for this episode."""

    code = "storage-failed"
    default_message = "the receiver could not store this; try again later"


class EpisodeDamaged(ReceiverError):
    """What is stored is visibly not what was acknowledged. It stays as it is until somebody looks at it."""

    code = "episode-damaged"
    default_message = (
        "the receiver's copy of this episode is damaged; keep yours, and tell the maintainer to run "
        "`cis490-receiver verify --quarantine`, after which it can be shipped again"
    )


class EpisodeBusy(ReceiverError):
    """Another upload of the same name is being published right now and did not finish in time."""

    code = "episode-busy"
    default_message = "another upload of this episode is being stored; try again in a moment"


class NotReady(ReceiverError):
    """The receiver could not take an episode now; `reasons` says why."""

    code = "not-ready"
    default_message = "the receiver cannot take episodes now"


class PreconditionFailed(ReceiverError):
    """If-Match or If-Unmodified-Since does not hold (RFC 9110 §13)."""

    code = "precondition-failed"
    default_message = "precondition failed"


class RangeNotSatisfiable(ReceiverError):
    """The range begins behind the end (RFC 9110 §15.5.17)."""

    code = "range-not-satisfiable"
    default_message = "range not satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(None, size_bytes=size_bytes)

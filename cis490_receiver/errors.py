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
        what_to_do: what its reader can do about it, one sentence for the documents.
        details: further members of the JSON answer.
    """

    code: ClassVar[str] = "error"
    default_message: ClassVar[str] = "request refused"
    what_to_do: ClassVar[str] = ""

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or self.default_message
        self.details: Mapping[str, Any] = details
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        """Why, for the log: what the operating system said where it was asked, else what the cause says or we do."""
        cause = self.__cause__
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        return str(cause or self.message)


class ConfigError(ReceiverError):
    """The configuration cannot be used; the message names the key, its source and the remedy."""

    code = "bad-configuration"


# Who asks


class MissingToken(ReceiverError):
    code = "missing-bearer-token"
    default_message = "missing bearer token"
    what_to_do = (
        "Send `Authorization: Bearer TOKEN`; the maintainer makes a token with `cis490-receiver token add`."
    )


class BadToken(ReceiverError):
    code = "bad-bearer-token"
    default_message = "bad bearer token"
    what_to_do = (
        "Compare the token with the one that the maintainer handed out; it may have expired or been "
        "revoked, and then a new one is needed."
    )


class ScopeMissing(ReceiverError):
    """The token is good, and not for this."""

    code = "scope-missing"
    default_message = "this token may not do this"
    what_to_do = "Use a token that has the scope which `scope` names, or ask the maintainer for one."


class HostMismatch(ReceiverError):
    """Somebody who was let in names a host that is not theirs."""

    code = "host-mismatch"
    default_message = "this is another host's"
    what_to_do = (
        "Ship under the host id that the token and the certificate were made for, as `remediation` says."
    )


class TooManyTries(ReceiverError):
    """A client, or all of them together, failed to sign in too often."""

    code = "too-many-tries"
    default_message = "too many failed tries to sign in; wait ten seconds, then try again"
    what_to_do = (
        "Wait for as many seconds as `Retry-After` says, then sign in with the right token, or by a new link."
    )


class ForeignForm(ReceiverError):
    """A form came that is of no page that was shown in this session: somebody else's page may have sent it."""

    code = "foreign-form"
    default_message = "this form is out of date or of another site; load the page again, then send it again"
    what_to_do = (
        "Load the page again in the browser, and send the form from there; only the receiver's own pages may."
    )


# What the request's head says


class BadRequest(ReceiverError):
    """The request is not one that this server can read."""

    code = "bad-request"
    default_message = "bad request"
    what_to_do = "Read `error`, which names what is wrong, and send the request without it."


class BadSuffix(ReceiverError):
    code = "bad-suffix"
    default_message = "expected .tar.zst suffix"
    what_to_do = "Name the episode `EPISODE_ID.tar.zst` in the URL."


class BadEpisodeName(ReceiverError):
    code = "bad-episode-name"
    default_message = "bad host_id or episode_id"
    what_to_do = (
        "Use host and episode ids of 1 to 128 characters of `A-Z a-z 0-9 . _ -`, the first a letter or a "
        "digit, without `..`."
    )


class BadSha256Header(ReceiverError):
    code = "bad-sha256-header"
    default_message = "X-Content-SHA256 header (64 hex chars) required"
    what_to_do = "Send what `sha256sum FILE` prints first as `X-Content-SHA256`."


class BadSchemaVersion(ReceiverError):
    code = "bad-schema-version"
    default_message = "bad X-Schema-Version"
    what_to_do = "Send a whole number as `X-Schema-Version`, or leave the header out, which means 2."


class MissingCommit(ReceiverError):
    code = "missing-commit"
    default_message = "missing X-Cis490-Code-Commit header"
    what_to_do = (
        "Send the commit that recorded the episode as `X-Cis490-Code-Commit`; `remediation` and "
        "FIXYOURSELF.md lead there."
    )


class MalformedCommit(ReceiverError):
    code = "malformed-commit"
    default_message = "X-Cis490-Code-Commit must be 40 lowercase hex"
    what_to_do = "Send the full commit id, 40 hex digits, as `git rev-parse HEAD` prints it."


class CommitRejected(ReceiverError):
    code = "commit-rejected"
    default_message = "code commit rejected: not in receiver's allow-list"
    what_to_do = (
        "Do what `remediation` says: bring the orchestrator onto the branch (FIXYOURSELF.md), and record "
        "again."
    )


class GateUnavailable(ReceiverError):
    """The gate is on and its snapshot cannot be read: not the client's fault."""

    code = "gate-unavailable"
    default_message = "the receiver cannot read its list of accepted commits; try again later"
    what_to_do = "Wait and send it again; the maintainer runs `cis490-receiver gate-refresh`."


class LengthRequired(ReceiverError):
    code = "length-required"
    default_message = "send Content-Length or a chunked body"
    what_to_do = "Send `Content-Length`, or `Transfer-Encoding: chunked`."


class BadContentLength(ReceiverError):
    code = "bad-content-length"
    default_message = "bad Content-Length"
    what_to_do = "Send the number of the body's bytes as `Content-Length`, digits alone."


class EpisodeTooLarge(ReceiverError):
    code = "episode-too-large"
    default_message = "episode exceeds max size"
    what_to_do = "Record shorter episodes, or ask the maintainer to raise `max_episode_bytes`."


class DiskReserve(ReceiverError):
    """Taking this body would leave less free space than the configured reserve."""

    code = "disk-reserve"
    default_message = "not enough free disk space on the receiver; try again later"
    what_to_do = "Keep the episode and send it again later; the maintainer makes room on the disk."


# What the body turns out to be


class BodyTruncated(ReceiverError):
    code = "body-truncated"
    default_message = "the body ended early; send the episode again"
    what_to_do = "Send the whole body again; the connection ended before it did."


class BodyMalformed(ReceiverError):
    code = "body-malformed"
    default_message = "the body's chunked framing is broken"
    what_to_do = "Send it again with a correct chunked coding (RFC 9112, 7.1), or with `Content-Length`."


class BodyTimeout(ReceiverError):
    code = "body-timeout"
    default_message = "the body came too slowly; send the episode again"
    what_to_do = "Send it again over a faster or steadier network."


class ShaMismatch(ReceiverError):
    code = "sha-mismatch"
    default_message = "the body does not match X-Content-SHA256"
    what_to_do = (
        "Compute the file's SHA-256 anew and compare it with `actual_sha256`: the file changed, or was "
        "spoilt on its way; then send it again."
    )

    def __init__(self, actual_sha256: str) -> None:
        super().__init__(None, status="sha-mismatch", actual_sha256=actual_sha256)


class BadArchive(ReceiverError):
    """The body is what was announced, and a trainer could not open it; `reason` says why."""

    code = "bad-archive"
    default_message = "the episode is not a .tar.zst that can be opened"
    what_to_do = (
        "Look at `reason` and at what `cis490-shipper check FILE` says of the file, and pack or record it "
        "again."
    )

    def __init__(self, reason: str) -> None:
        super().__init__(None, reason=reason)


class Conflict(ReceiverError):
    code = "conflict"
    default_message = "another episode is stored under this name"
    what_to_do = (
        "Ship the episode under another name: what is stored stays, and its digest is `existing_sha256`."
    )

    def __init__(self, existing_sha256: str) -> None:
        super().__init__(None, status="conflict", existing_sha256=existing_sha256)


class ReportNotJson(ReceiverError):
    code = "report-not-json"
    default_message = "body must be JSON"
    what_to_do = "Send JSON that a strict parser reads (RFC 7493); `reason` says where this is not."


class ReportNotObject(ReceiverError):
    code = "report-not-object"
    default_message = "body must be a JSON object"
    what_to_do = "Send a JSON object, `{...}`."


class ReportTooLarge(ReceiverError):
    code = "report-too-large"
    default_message = "report exceeds max size"
    what_to_do = "Send a report of at most `max_report_bytes`."


class BadHostId(ReceiverError):
    code = "bad-host-id"
    default_message = "bad host_id"
    what_to_do = (
        "Use a host id of 1 to 128 characters of `A-Z a-z 0-9 . _ -`, the first a letter or a digit, "
        "without `..`."
    )


# An upload in pieces (tus 1.0.0)


class UnsupportedTusVersion(ReceiverError):
    code = "unsupported-tus-version"
    default_message = "send Tus-Resumable: 1.0.0, the version of the protocol that this server speaks"
    what_to_do = "Send `Tus-Resumable: 1.0.0`, as every client of tus 1.0 does."


class BadUploadHeader(ReceiverError):
    """One of the protocol's own headers cannot be read; the message names it."""

    code = "bad-upload-header"
    default_message = "bad header of an upload"
    what_to_do = (
        "Read `error`, which names the header, and send it as https://tus.io/protocols/resumable-upload says."
    )


class BadContentType(ReceiverError):
    code = "bad-content-type"
    default_message = "the bytes of an upload come as application/offset+octet-stream"
    what_to_do = "Send `Content-Type: application/offset+octet-stream`."


class OffsetMismatch(ReceiverError):
    """Not where the upload goes on; `upload_offset` is."""

    code = "offset-mismatch"
    default_message = "this is not where the upload goes on"
    what_to_do = "Ask with `HEAD` where it goes on, and send the bytes from that offset."

    def __init__(self, upload_offset: int) -> None:
        super().__init__(None, upload_offset=upload_offset)


class UploadOverrun(ReceiverError):
    code = "upload-overrun"
    default_message = "these bytes would go beyond Upload-Length"
    what_to_do = "Send as many bytes as are missing, or make a new upload of the right length."


class ChecksumMismatch(ReceiverError):
    code = "checksum-mismatch"
    default_message = "these bytes do not match Upload-Checksum, and none of them was kept"
    what_to_do = "Send them again: they were spoilt on their way."


class UploadLocked(ReceiverError):
    """Another request has the upload. One whose client is gone lets it go within seconds."""

    code = "upload-locked"
    default_message = "another request is sending this upload; try again in some seconds"
    what_to_do = "Send it again after some seconds; a request whose client is gone makes way."


class UploadExpired(ReceiverError):
    code = "upload-expired"
    default_message = "this upload was discarded, because nothing of it came for too long"
    what_to_do = "Make a new upload."


class UploadLost(ReceiverError):
    """Bytes that were stored of it are not there any more."""

    code = "upload-lost"
    default_message = "the receiver has lost bytes of this upload; send it anew"
    what_to_do = "Make a new upload; the maintainer looks for what happened to the disk."


class TooManyUploads(ReceiverError):
    code = "too-many-uploads"
    default_message = "too many uploads of this host wait to be completed"
    what_to_do = (
        "Complete the uploads that were begun, or end them with `DELETE`; they also end when they expire."
    )


# What is asked for


class NotFound(ReceiverError):
    code = "not-found"
    default_message = "not found"
    what_to_do = "Check the path; `GET /v1/episodes` and `GET /v1/host-health` list what there is."


class MethodNotAllowed(ReceiverError):
    """The path is there, and not for this method; the header Allow names those that it is for."""

    code = "method-not-allowed"
    default_message = "method not allowed"
    what_to_do = "Use one of the methods that the header `Allow` names."


# What the receiver itself cannot do


class StorageFull(ReceiverError):
    """The file system has no space (ENOSPC, EDQUOT, EFBIG) for what had to be written."""

    code = "storage-full"
    default_message = "no space left on the receiver; try again later"
    what_to_do = "Keep the episode and send it again later; the maintainer makes room on the disk."


class StorageFailed(ReceiverError):
    """A write, sync or link failed; nothing is promised for this episode."""

    code = "storage-failed"
    default_message = "the receiver could not store this; try again later"
    what_to_do = "Keep the episode and send it again later; the receiver's log says what failed."


class EpisodeDamaged(ReceiverError):
    """What is stored is visibly not what was acknowledged. It stays as it is until somebody looks at it."""

    code = "episode-damaged"
    default_message = (
        "the receiver's copy of this episode is damaged; keep yours, and tell the maintainer to run "
        "`cis490-receiver verify --quarantine`, after which it can be shipped again"
    )
    what_to_do = (
        "Keep the episode; the maintainer runs `cis490-receiver verify --quarantine`, after which it can "
        "be sent again."
    )


class EpisodeBusy(ReceiverError):
    """Another upload of the same name is being published right now and did not finish in time."""

    code = "episode-busy"
    default_message = "another upload of this episode is being stored; try again in a moment"
    what_to_do = "Send it again after some seconds."


class InternalError(ReceiverError):
    """What nobody foresaw; the log has it."""

    code = "internal-error"
    default_message = "internal error"
    what_to_do = (
        "Keep the episode and send it again later; the maintainer finds the cause in the receiver's log."
    )


class LooksBusy(ReceiverError):
    """As many archives are being looked into as may be at once."""

    code = "looks-busy"
    default_message = "other archives are being looked into; try again in a few seconds"
    what_to_do = "Ask again after some seconds."


class NotReady(ReceiverError):
    """The receiver could not take an episode now; `reasons` says why."""

    code = "not-ready"
    default_message = "the receiver cannot take episodes now"
    what_to_do = "Wait; `reasons` has the codes of what stands in the way, each of which is in this table."


class PreconditionFailed(ReceiverError):
    """If-Match or If-Unmodified-Since does not hold (RFC 9110 §13)."""

    code = "precondition-failed"
    default_message = "precondition failed"
    what_to_do = "Ask for the current entity tag with `HEAD`, and decide anew."


class RangeNotSatisfiable(ReceiverError):
    """The range begins behind the end (RFC 9110 §15.5.17)."""

    code = "range-not-satisfiable"
    default_message = "range not satisfiable"
    what_to_do = "Begin the range before the end, which `Content-Range` gives."

    def __init__(self, size_bytes: int) -> None:
        super().__init__(None, size_bytes=size_bytes)

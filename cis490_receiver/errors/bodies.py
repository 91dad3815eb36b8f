"""What the body of a request turns out to be."""

from __future__ import annotations

from cis490_receiver.errors.base import ReceiverError


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

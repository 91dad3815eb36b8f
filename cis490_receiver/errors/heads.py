"""What the head of a request says."""

from __future__ import annotations

from cis490_receiver.errors.base import ReceiverError


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

"""What is not there, and what the receiver itself cannot do."""

from __future__ import annotations

from cis490_receiver.errors.base import ReceiverError


class NotFound(ReceiverError):
    code = "not-found"
    default_message = "not found"
    what_to_do = "Check the path; `GET /v1/episodes` and `GET /v1/host-health` list what there is."


class MethodNotAllowed(ReceiverError):
    """The path is there, and not for this method; the header Allow names those that it is for."""

    code = "method-not-allowed"
    default_message = "method not allowed"
    what_to_do = "Use one of the methods that the header `Allow` names."


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


class DatabaseUnavailable(StorageFailed):
    """The database of a receiver that is one of many does not answer, or breaks off; what was under way may have been
    done or not."""

    code = "database-unavailable"
    default_message = "the receiver cannot reach its database; try again later"
    what_to_do = (
        "Keep the episode and send it again later; the receiver goes on as soon as its database is back."
    )


class StoreUnavailable(StorageFailed):
    """The object store of a receiver that is one of many did not answer in time, or said that it cannot now."""

    code = "store-unavailable"
    default_message = "the receiver cannot reach its object store; try again later"
    what_to_do = (
        "Keep the episode and send it again after a minute; the receiver goes on by itself when its object "
        "store is back."
    )


class Moved(StorageFailed):
    """Everything that the receivers of a cluster keep is on its way to another place, or went there."""

    code = "moved"
    default_message = "the receiver's data is being moved to another place; try again later"
    what_to_do = (
        "Keep the episode and send it again later; the maintainer starts the receiver where its data is."
    )


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


class ReleaseDamaged(ReceiverError):
    """A release's table is visibly not what was frozen. It stays as it is until somebody looks at it."""

    code = "release-damaged"
    default_message = (
        "the table of this release is gone or was changed; tell the maintainer to restore it from the backup"
    )
    what_to_do = (
        "The maintainer restores the release's table from the backup; a copy that has its SHA-256 is as good."
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

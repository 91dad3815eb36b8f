"""An upload in pieces (tus 1.0.0)."""

from __future__ import annotations

from cis490_receiver.errors.base import ReceiverError


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

"""The only table from exceptions to HTTP statuses, and the only place that makes an error answer."""

from __future__ import annotations

import logging
from typing import Final

from flask import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from cis490_receiver import errors
from cis490_receiver.logfmt import event
from cis490_receiver.views.answers import json_answer

log = logging.getLogger(__name__)

STATUS: Final[dict[type[errors.ReceiverError], int]] = {
    errors.MissingToken: 401,
    errors.BadToken: 401,
    errors.ScopeMissing: 403,
    errors.HostMismatch: 403,
    errors.TooManyTries: 429,
    errors.ForeignForm: 403,
    errors.BadRequest: 400,
    errors.BadSuffix: 400,
    errors.BadEpisodeName: 400,
    errors.BadSha256Header: 400,
    errors.BadSchemaVersion: 400,
    errors.MissingCommit: 400,
    errors.MalformedCommit: 400,
    errors.CommitRejected: 412,
    errors.GateUnavailable: 503,
    errors.LengthRequired: 411,
    errors.BadContentLength: 400,
    errors.EpisodeTooLarge: 413,
    errors.DiskReserve: 507,
    errors.BodyTruncated: 400,
    errors.BodyMalformed: 400,
    errors.BodyTimeout: 408,
    errors.ShaMismatch: 400,
    errors.BadArchive: 422,
    errors.Conflict: 409,
    errors.UnsupportedTusVersion: 412,
    errors.BadUploadHeader: 400,
    errors.BadContentType: 415,
    errors.OffsetMismatch: 409,
    errors.UploadOverrun: 413,
    # The protocol's own (tus 1.0.0, checksum).
    errors.ChecksumMismatch: 460,
    errors.UploadLocked: 423,
    errors.UploadExpired: 410,
    errors.UploadLost: 410,
    errors.TooManyUploads: 429,
    errors.ReportNotJson: 400,
    errors.ReportNotObject: 400,
    errors.ReportTooLarge: 413,
    errors.BadHostId: 400,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.PreconditionFailed: 412,
    errors.RangeNotSatisfiable: 416,
    errors.NotReady: 503,
    errors.InternalError: 500,
    errors.StorageFull: 507,
    errors.StorageFailed: 500,
    errors.DatabaseUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.Moved: 503,
    errors.EpisodeDamaged: 500,
    errors.ReleaseDamaged: 500,
    errors.EpisodeBusy: 503,
    errors.LooksBusy: 503,
}

#: When to try again, in seconds.
RETRY_AFTER: Final[dict[type[errors.ReceiverError], int]] = {
    errors.TooManyTries: 10,
    errors.GateUnavailable: 60,
    errors.DiskReserve: 300,
    errors.StorageFull: 300,
    errors.StorageFailed: 60,
    errors.DatabaseUnavailable: 15,
    errors.StoreUnavailable: 60,
    errors.Moved: 60,
    errors.EpisodeDamaged: 3600,
    errors.ReleaseDamaged: 3600,
    errors.EpisodeBusy: 5,
    errors.UploadLocked: 5,
    errors.TooManyUploads: 3600,
    errors.LooksBusy: 3,
    errors.NotReady: 60,
}

_OF_FRAMEWORK: Final[dict[type[HTTPException], type[errors.ReceiverError]]] = {
    MethodNotAllowed: errors.MethodNotAllowed,
    NotFound: errors.NotFound,
}


def status_of(error: errors.ReceiverError) -> int:
    """The HTTP status that `error` is answered with."""
    return STATUS[type(error)]


def answer(error: errors.ReceiverError) -> Response:
    """The JSON answer for `error`."""
    content = {"error": error.message, "code": error.code, **error.details}
    response = json_answer(content, status_of(error))
    if type(error) in RETRY_AFTER:
        response.headers["Retry-After"] = str(RETRY_AFTER[type(error)])
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.details['size_bytes']}"
    return response


def answer_any(exc: Exception) -> Response:
    """The JSON answer for whatever went wrong; what nobody foresaw goes to the log, and not to the client."""
    if isinstance(exc, errors.ReceiverError):
        return answer(exc)
    if isinstance(exc, HTTPException):
        return _http_exception(exc)
    log.error(event(errors.InternalError.code, kind=type(exc).__name__), exc_info=exc)
    return answer(errors.InternalError())


def _http_exception(exc: HTTPException) -> Response:
    """What the router and the framework refuse."""
    kind = _OF_FRAMEWORK.get(
        type(exc), errors.BadRequest if (exc.code or 500) < 500 else errors.InternalError
    )
    response = answer(kind())
    if isinstance(exc, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(exc.valid_methods or ()))
    return response

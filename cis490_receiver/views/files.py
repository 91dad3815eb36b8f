"""Serve a file's bytes with conditional requests and ranges (RFC 9110 §13 and §14)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from flask import Request, Response
from werkzeug.http import http_date, parse_date, parse_etags, parse_if_range_header, parse_range_header
from werkzeug.wsgi import wrap_file

from cis490_receiver.errors import PreconditionFailed, RangeNotSatisfiable
from cis490_receiver.views import coding
from cis490_receiver.views.openapi import schemas
from cis490_receiver.views.openapi.declaration import Answer, Header

#: What `send` may raise.
ERRORS: Final = (PreconditionFailed, RangeNotSatisfiable)
_VALIDATORS: Final = (
    Header("ETag", "The entity tag, in quotes."),
    Header("Cache-Control", "`no-cache`: ask again before using a copy."),
)


def answers(doc: str, content_type: str, *headers: Header) -> dict[int, Answer]:
    """How `send` answers, `headers` beside its own."""
    always = (*_VALIDATORS, *headers)
    whole = (
        *always,
        Header("Last-Modified", "When it last changed."),
        Header("Accept-Ranges", "`bytes`."),
    )
    part = (*whole, Header("Content-Range", "Which part of how much."))
    return {
        200: Answer(doc, schemas.BYTES, content_type, whole),
        206: Answer("The range that was asked for.", schemas.BYTES, content_type, part),
        304: Answer("What the client has is still good.", schemas.BYTES, None, always),
    }


def compressible_answers(doc: str, content_type: str, *headers: Header) -> dict[int, Answer]:
    """How `send_compressible` answers, `headers` beside its own."""
    plain = answers(doc, content_type, *headers, Header("Vary", "`Accept-Encoding`."))
    whole = (
        *(header for header in plain[200].headers if header.name != "Accept-Ranges"),
        Header("Accept-Ranges", "`bytes`, where it is not compressed.", always=False),
        Header("Content-Encoding", "`zstd` or `gzip`, where it is compressed.", always=False),
    )
    return {**plain, 200: replace(plain[200], headers=whole)}


@dataclass(frozen=True, slots=True)
class Representation:
    """What is served: `size_bytes` bytes of `stream`, its strong entity tag (without quotes) and its
    last modification in seconds since the epoch."""

    stream: BinaryIO
    size_bytes: int
    etag: str
    modified: int
    content_type: str


def send_compressible(request: Request, what: Representation) -> Response:
    """`send`, or the whole compressed where the client asks for that and for no range. What is compressed has an entity
    tag of its own (RFC 9110 §8.8.3.3) and no ranges: the offsets of its bytes would be of no use.

    Raises:
        PreconditionFailed, RangeNotSatisfiable: as `send`.
    """
    is_part = "Range" in request.headers or "If-Range" in request.headers
    chosen = None if is_part else coding.asked_for(request)
    if chosen is None:
        response = send(request, what)
    else:
        response = _send_compressed(request, replace(what, etag=f"{what.etag}-{chosen}"), chosen)
    response.vary.add("Accept-Encoding")
    return response


def _send_compressed(request: Request, what: Representation, chosen: str) -> Response:
    unchanged = _answer_by_conditions(request, what)
    if unchanged is not None:
        return unchanged
    response = Response(
        coding.compressed(chosen, what.stream, what.size_bytes),
        content_type=what.content_type,
        direct_passthrough=True,
    )
    # The generator itself knows of no end where it was never begun, as for HEAD.
    response.call_on_close(what.stream.close)
    response.content_encoding = chosen
    return _with_validators(response, what)


def send(request: Request, what: Representation) -> Response:
    """Answer a GET or HEAD with `what`, which is closed when the answer was sent.

    Raises:
        PreconditionFailed: If-Match or If-Unmodified-Since does not hold.
        RangeNotSatisfiable: the one range that was asked for begins behind the end.
    """
    unchanged = _answer_by_conditions(request, what)
    if unchanged is not None:
        return unchanged
    try:
        part = _range(request, what)
    except BaseException:
        what.stream.close()
        raise
    start, end = part or (0, what.size_bytes)
    what.stream.seek(start)
    response = Response(
        wrap_file(request.environ, what.stream, 1 << 18),
        status=200 if part is None else 206,
        content_type=what.content_type,
        direct_passthrough=True,
    )
    response.content_length = end - start
    response.headers["Accept-Ranges"] = "bytes"
    if part is not None:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{what.size_bytes}"
    return _with_validators(response, what)


def _answer_by_conditions(request: Request, what: Representation) -> Response | None:
    """The answer to a request whose conditions leave nothing to send.

    Raises:
        PreconditionFailed: a condition does not hold.
    """
    try:
        _check_preconditions(request, what)
        if not _is_fresh(request, what):
            return None
    except BaseException:
        what.stream.close()
        raise
    what.stream.close()
    return _with_validators(Response(status=304), what)


def _with_validators(response: Response, what: Representation) -> Response:
    response.set_etag(what.etag)
    response.headers["Last-Modified"] = http_date(what.modified)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _check_preconditions(request: Request, what: Representation) -> None:
    if "If-Match" in request.headers:
        if not parse_etags(request.headers["If-Match"]).contains(what.etag):
            raise PreconditionFailed
        return
    since = parse_date(request.headers.get("If-Unmodified-Since"))
    if since is not None and what.modified > since.timestamp():
        raise PreconditionFailed


def _is_fresh(request: Request, what: Representation) -> bool:
    """Whether what the client has is still good (RFC 9110 §13.1.2 and §13.1.3)."""
    if "If-None-Match" in request.headers:
        return parse_etags(request.headers["If-None-Match"]).contains_weak(what.etag)
    since = parse_date(request.headers.get("If-Modified-Since"))
    return since is not None and what.modified <= since.timestamp()


def _range(request: Request, what: Representation) -> tuple[int, int] | None:
    """The part that is asked for, as offsets [start, end); None for the whole.

    A header that is malformed, asks for several ranges or for another unit is ignored (RFC 9110 §14.2),
    and so is any range of another method than GET or of a representation that changed (§13.1.5).
    """
    wanted = parse_range_header(request.headers.get("Range"), make_inclusive=False)
    if request.method != "GET" or wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    if "If-Range" in request.headers and not _range_applies(request, what):
        return None
    start, end = wanted.ranges[0]
    if start < 0:  # the last -start bytes
        start, end = max(0, what.size_bytes + start), what.size_bytes
    if start >= what.size_bytes:
        raise RangeNotSatisfiable(what.size_bytes)
    return start, min(end or what.size_bytes, what.size_bytes)


def _range_applies(request: Request, what: Representation) -> bool:
    condition = parse_if_range_header(request.headers["If-Range"])
    if condition.etag is not None:
        # A weak tag never matches here.
        return condition.etag == what.etag and not request.headers["If-Range"].startswith("W/")
    modified = dt.datetime.fromtimestamp(what.modified, tz=dt.UTC)
    return condition.date is not None and condition.date == modified

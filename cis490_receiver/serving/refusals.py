"""Answers to what never reaches the application: JSON, as all of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from gunicorn.http import errors as http_errors


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of request that is refused: its status line, its code, what is said of it, and what its reader can do."""

    status: str
    code: str
    message: str
    what_to_do: str


BAD_CONTENT_LENGTH: Final = Refusal(
    "400 Bad Request",
    "bad-content-length",
    "bad Content-Length",
    "Send the number of the body's bytes as `Content-Length`, digits alone.",
)
URI_TOO_LONG: Final = Refusal(
    "414 URI Too Long", "uri-too-long", "the request line is too long", "Send a shorter path or query."
)
HEADERS_TOO_LARGE: Final = Refusal(
    "431 Request Header Fields Too Large",
    "headers-too-large",
    "the headers are too large",
    "Send fewer or shorter headers: 64 at most, 8,190 bytes each, 32 KiB together.",
)
EXPECTATION_FAILED: Final = Refusal(
    "417 Expectation Failed",
    "expectation-failed",
    "only Expect: 100-continue is understood",
    "Send `Expect: 100-continue`, or no `Expect` at all.",
)
BAD_HTTP: Final = Refusal(
    "400 Bad Request",
    "bad-http",
    "this is not a request that HTTP/1.1 allows",
    "Use an HTTP client that keeps to RFC 9112; a program of one's own has a mistake in the head of its request.",
)
HEAD_TIMEOUT: Final = Refusal(
    "408 Request Timeout",
    "head-timeout",
    "the request's head came too slowly",
    "Send the whole head of the request at once; over a bad network, try again.",
)
#: All that may be answered before the application is asked.
REFUSALS: Final = (
    BAD_HTTP,
    BAD_CONTENT_LENGTH,
    HEAD_TIMEOUT,
    URI_TOO_LONG,
    EXPECTATION_FAILED,
    HEADERS_TOO_LARGE,
)
#: When the application could not end a request.
INTERNAL_ERROR: Final = Refusal(
    "500 Internal Server Error",
    "internal-error",
    "internal error",
    "The maintainer finds the cause in the receiver's log.",
)


def describe(exc: http_errors.ParseException) -> Refusal:
    """How a request is answered that gunicorn's parser refused."""
    if isinstance(exc, http_errors.InvalidHeader) and getattr(exc, "hdr", None) == "CONTENT-LENGTH":
        return BAD_CONTENT_LENGTH
    if isinstance(exc, http_errors.LimitRequestLine):
        return URI_TOO_LONG
    if isinstance(exc, http_errors.LimitRequestHeaders):
        return HEADERS_TOO_LARGE
    if isinstance(exc, http_errors.ExpectationFailed):
        return EXPECTATION_FAILED
    return BAD_HTTP


def json_response(refusal: Refusal) -> bytes:
    """An error as the bytes of a whole response, for where there is no application."""
    body = json.dumps({"error": refusal.message, "code": refusal.code}).encode("ascii")
    head = (
        f"HTTP/1.1 {refusal.status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body

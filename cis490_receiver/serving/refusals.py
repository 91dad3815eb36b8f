"""Answers to what never reaches the application: JSON, as all of ours."""

from __future__ import annotations

import json

from gunicorn.http import errors as http_errors


def describe(exc: http_errors.ParseException) -> tuple[str, str, str]:
    """Status line, code and message for a request that gunicorn's parser refused."""
    if isinstance(exc, http_errors.InvalidHeader) and getattr(exc, "hdr", None) == "CONTENT-LENGTH":
        return "400 Bad Request", "bad-content-length", "bad Content-Length"
    if isinstance(exc, http_errors.LimitRequestLine):
        return "414 URI Too Long", "uri-too-long", "the request line is too long"
    if isinstance(exc, http_errors.LimitRequestHeaders):
        return "431 Request Header Fields Too Large", "headers-too-large", "the headers are too large"
    if isinstance(exc, http_errors.ExpectationFailed):
        return "417 Expectation Failed", "expectation-failed", "only Expect: 100-continue is understood"
    return "400 Bad Request", "bad-http", "this is not a request that HTTP/1.1 allows"


def json_response(status: str, code: str, message: str) -> bytes:
    """An error as the bytes of a whole response, for where there is no application."""
    body = json.dumps({"error": message, "code": code}).encode("ascii")
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body

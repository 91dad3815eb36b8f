"""Requests that HTTP/1.1 forbids and gunicorn lets through."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.wrappers import Request

from cis490_receiver.errors import BadRequest


def init_app(app: Flask) -> None:
    """Refuse such requests before anything else looks at them."""

    @app.before_request
    def refuse() -> None:
        check(request)


def check(request: Request) -> None:
    """Let a request through whose framing leaves no doubt where its body ends.

    Raises:
        BadRequest: no Host (RFC 9112 §3.2), or a transfer coding other than chunked, which would be
            stored as if it were the episode's own bytes (§6.1).
    """
    if request.environ.get("SERVER_PROTOCOL") != "HTTP/1.0" and not request.environ.get("HTTP_HOST"):
        raise BadRequest("a Host header is required")
    coding = request.environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and coding.strip().lower() != "chunked":
        raise BadRequest("the only Transfer-Encoding understood is chunked")

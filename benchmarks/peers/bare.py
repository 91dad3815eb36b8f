"""A WSGI application that reads an upload and answers, and keeps nothing: what the server itself costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_ANSWER = b'{"status":"read"}\n'
_HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(_ANSWER)))]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """See PEP 3333."""
    while environ["wsgi.input"].read(1 << 20):
        pass
    start_response("201 Created" if environ["REQUEST_METHOD"] == "PUT" else "200 OK", _HEADERS)
    return [_ANSWER]

"""Whether it is a browser that asks, which gets pages, or a program, which gets JSON."""

from __future__ import annotations

from werkzeug.wrappers import Request


def wants_page(request: Request) -> bool:
    """Whether the client names HTML among what it takes, and not behind JSON (RFC 9110 §12.5.1). What takes anything
    at all, as curl does, is a program."""
    accepted = request.accept_mimetypes
    named = any(name.lower() == "text/html" and quality > 0 for name, quality in accepted)
    return named and accepted.best_match(("text/html", "application/json")) == "text/html"

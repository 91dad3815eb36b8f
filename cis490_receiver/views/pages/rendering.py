"""An answer as a page, with the headers that keep it to itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Response, current_app, render_template, request

from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.browser import wants_page
from cis490_receiver.views.pages.visitor import Visitor

#: Everything comes from here, and nothing that is written into a page runs (W3C, Content Security Policy Level 3).
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Vary": "Accept, Authorization, Cookie",
}
#: Address and name, in the order in which they stand at the top; those that there are.
_NAVIGATION: Final = (("/", "Fleet"), ("/alerts", "Alerts"), ("/data", "Data"), ("/docs", "API"))


def page_or_json(
    template: str, visitor: Visitor, data: Callable[[], dict[str, Any]], **context: Any
) -> Response:
    """The page that `template` makes of `context`; for a program, `data`."""
    if not wants_page(request):
        response = json_answer(data())
        response.headers["Vary"] = _HEADERS["Vary"]
        return response
    return page(template, visitor=visitor, **context)


def page(
    template: str,
    status: int = 200,
    *,
    visitor: Visitor | None = None,
    navigated: bool = False,
    **context: Any,
) -> Response:
    """The page that `template` makes of `context`. Without a `visitor` nothing of the fleet is on it, nor the way to
    the other pages unless it is `navigated`."""
    known = {rule.rule for rule in current_app.url_map.iter_rules()}
    text = render_template(
        template,
        visitor=visitor,
        path=request.path,
        navigation=[item for item in _NAVIGATION if item[0] in known] if visitor else [],
        **context,
    )
    response = Response(text, status, content_type="text/html; charset=utf-8")
    response.headers.update(_HEADERS)
    return response


def see_other(path: str) -> Response:
    """Send a browser on to `path`."""
    response = Response(status=303)
    response.headers["Location"] = path
    response.headers.update(_HEADERS)
    return response

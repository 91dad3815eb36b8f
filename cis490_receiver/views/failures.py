"""Who is told of a failure in which form: programs in JSON, browsers by a page."""

from __future__ import annotations

from http.client import responses
from urllib.parse import urlencode

from flask import Flask, Response, request

from cis490_receiver.views import errors
from cis490_receiver.views.browser import wants_page
from cis490_receiver.views.pages.rendering import page, see_other


def init_app(app: Flask) -> None:
    """Answer every failure of `app`."""

    def answer(exc: Exception) -> Response:
        response = errors.answer_any(exc)
        if not wants_page(request):
            return response
        if response.status_code == 401 and request.method in ("GET", "HEAD"):
            return see_other(f"/sign-in?{urlencode({'next': request.full_path.removesuffix('?')})}")
        return _as_page(response)

    app.register_error_handler(Exception, answer)


def _as_page(response: Response) -> Response:
    shown = page(
        "error.html",
        response.status_code,
        problem=response.get_json(),
        title=f"{response.status_code} {responses.get(response.status_code, 'Error')}",
    )
    for name in ("Retry-After", "Allow", "Content-Range"):
        if name in response.headers:
            shown.headers[name] = response.headers[name]
    return shown

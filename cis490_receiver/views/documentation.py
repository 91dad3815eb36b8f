"""What the interface says of itself: ``/v1/openapi.json`` for programs, ``/docs`` for people."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, render_template, send_from_directory
from markupsafe import Markup, escape

from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import handbook, schemas
from cis490_receiver.views.openapi.declaration import JSON, Answer, operation, page
from cis490_receiver.views.openapi.document import make_document

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Description:
    """The description of one application, made when it is first asked for: all routes are there by then."""

    @cached_property
    def document(self) -> dict[str, Any]:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        return make_document(app)

    @cached_property
    def json(self) -> bytes:
        return json_answer(self.document).get_data()


def blueprint() -> Blueprint:
    """The routes of the description."""
    views = Blueprint("documentation", __name__, template_folder="templates")
    views.add_app_template_filter(prose)
    description = _Description()

    @views.get("/v1/openapi.json")
    @operation(
        "This description",
        access="everybody",
        answers={200: Answer("OpenAPI 3.1.", schemas.record(openapi=schemas.TEXT, paths={"type": "object"}))},
        example="/v1/openapi.json",
    )
    def openapi() -> Response:
        return Response(description.json, content_type=JSON)

    @views.get("/docs")
    @page
    def docs() -> tuple[str, dict[str, str]]:
        document = description.document
        html = render_template(
            "docs.html",
            calls=handbook.calls(document),
            common=sorted(handbook.common_codes(document)),
            errors=handbook.error_codes(document),
        )
        return html, _HEADERS

    @views.get("/static/docs.css")
    @page
    def style() -> Response:
        return send_from_directory(f"{views.root_path}/static", "docs.css", max_age=300)

    return views


def prose(text: str) -> Markup:
    """A text in which words between backticks are code, as HTML."""
    words = enumerate(text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(word) if number % 2 else escape(word) for number, word in words
    )

"""What the interface says of itself: ``/v1/openapi.json`` for programs, ``/docs`` for people."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request
from markupsafe import Markup, escape

from cis490_receiver.errors import ReceiverError
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import handbook, schemas
from cis490_receiver.views.openapi.declaration import JSON, Answer, operation, page
from cis490_receiver.views.openapi.document import make_document
from cis490_receiver.views.pages import rendering
from cis490_receiver.views.pages.visitor import Visitor, visitor_of
from cis490_receiver.views.wiring import Services


class _Description:
    """The description of one application, made when it is first asked for: all routes are there by then."""

    @cached_property
    def document(self) -> dict[str, Any]:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        return make_document(app)

    @cached_property
    def json(self) -> bytes:
        return json_answer(self.document).get_data()


def blueprint(services: Services) -> Blueprint:
    """The routes of the description."""
    views = Blueprint("documentation", __name__)
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
    def docs() -> Response:
        document = description.document
        return rendering.page(
            "docs.html",
            visitor=_visitor(services),
            calls=handbook.calls(document),
            common=sorted(handbook.common_codes(document)),
            errors=handbook.error_codes(document),
        )

    return views


def _visitor(services: Services) -> Visitor | None:
    """Who looks at the page, which needs nobody to be let in."""
    try:
        return visitor_of(services, request)
    except ReceiverError:
        return None


def prose(text: str) -> Markup:
    """A text in which words between backticks are code, as HTML."""
    words = enumerate(text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(word) if number % 2 else escape(word) for number, word in words
    )

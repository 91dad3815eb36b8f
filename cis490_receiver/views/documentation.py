"""``/v1/openapi.json``: what the interface says of itself."""

from __future__ import annotations

import functools

from flask import Blueprint, Flask, Response, current_app

from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import schemas
from cis490_receiver.views.openapi.declaration import Answer, operation
from cis490_receiver.views.openapi.document import make_document
from cis490_receiver.views.wiring import Services


def blueprint(services: Services) -> Blueprint:
    """The routes of the description."""
    views = Blueprint("documentation", __name__)

    @functools.cache
    def text(app: Flask) -> bytes:
        return json_answer(make_document(app)).get_data()

    @views.get("/v1/openapi.json")
    @operation(
        "This description",
        access="everybody",
        answers={200: Answer("OpenAPI 3.1.", schemas.record(openapi=schemas.TEXT, paths={"type": "object"}))},
        example="/v1/openapi.json",
    )
    def openapi() -> Response:
        return Response(text(current_app._get_current_object()), content_type="application/json")  # type: ignore[attr-defined]

    return views

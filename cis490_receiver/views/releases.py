"""``/v1/releases``: the frozen tables of contents."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, request

from cis490_receiver import protocol
from cis490_receiver.errors import NotFound, ReleaseDamaged, StorageFailed
from cis490_receiver.index.base.releases import as_record
from cis490_receiver.views import files
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, Header, operation
from cis490_receiver.views.wiring import Services, authenticate

WITHDRAWN_SINCE: Final = "X-Withdrawn-Since"


def blueprint(services: Services) -> Blueprint:
    """The routes."""
    views = Blueprint("releases", __name__)

    @views.get("/v1/releases")
    @operation(
        "The releases, the newest first",
        access="read",
        answers={
            200: Answer("All of them.", schemas.record(releases=schemas.listed(schemas.reference("Release"))))
        },
        errors=(StorageFailed,),
        example="/v1/releases",
        doc="A release is a frozen table of contents, made by `cis490-receiver release create`. It never changes; what "
        "was withdrawn of it since is counted beside it.",
    )
    def list_releases() -> Response:
        authenticate(services, request).require("read")
        return json_answer({"releases": listed(services)})

    @views.get("/v1/releases/<name>.jsonl")
    @operation(
        "A release: a JSON line for each of its episodes, sorted by host and episode",
        access="read",
        path="/v1/releases/{name}.jsonl",
        parameters=(parameters.RELEASE, *parameters.CONDITIONAL, *parameters.RANGE),
        answers=files.answers(
            "The table, the same bytes for ever.",
            "application/jsonl",
            Header("Repr-Digest", "SHA-256 of the whole table (RFC 9530)."),
            Header(
                WITHDRAWN_SINCE,
                "Where episodes of the release were withdrawn since it was made: how many, a decimal number.",
                always=False,
            ),
        ),
        errors=(*files.ERRORS, NotFound, ReleaseDamaged, StorageFailed),
        example="/v1/releases/paper-1.jsonl",
        curl="-o paper-1.jsonl",
        doc="`sha256sum` of the file is the `sha256` that `GET /v1/releases` gives, which is also the entity tag.",
    )
    def get_release(name: str) -> Response:
        authenticate(services, request).require("read")
        return _send(services, name)

    return views


def listed(services: Services) -> list[dict[str, Any]]:
    """All releases as JSON tells of them, the newest first."""
    return [
        as_record(release, services.releases.count_withdrawn(release)) for release in services.releases.all()
    ]


def _send(services: Services, name: str) -> Response:
    release = services.releases.find(name)
    withdrawn = services.releases.count_withdrawn(release) if release is not None else None
    opened = services.releases.open(name)
    if release is None or opened is None:
        raise NotFound("there is no such release; GET /v1/releases lists them")
    response = files.send(
        request,
        files.Representation(
            opened.stream,
            release.size_bytes,
            release.sha256,
            opened.modified_ns // 10**9,
            "application/jsonl",
        ),
    )
    response.headers["Repr-Digest"] = protocol.repr_digest(release.sha256)
    if withdrawn:
        response.headers[WITHDRAWN_SINCE] = str(withdrawn)
    return response

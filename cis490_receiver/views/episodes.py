"""``/v1/episodes/{host_id}/{episode_id}.tar.zst``: an episode's way in and out."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Request

from cis490_receiver import errors, protocol
from cis490_receiver.errors import NotFound, ReceiverError
from cis490_receiver.ingest import Outcome, receive_episode
from cis490_receiver.models import EpisodeKey
from cis490_receiver.policy.admission import admit
from cis490_receiver.policy.auth import Principal
from cis490_receiver.policy.headers import code_commit
from cis490_receiver.policy.identifiers import stored_key, uploaded_key
from cis490_receiver.policy.inspection import inspector
from cis490_receiver.views import files, upload_facts
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.body import request_body
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, Body, Header, operation
from cis490_receiver.views.wiring import Services, authenticate

_PATH: Final = "/v1/episodes/{host_id}/{episode_id}.tar.zst"
_EXAMPLE: Final = "/v1/episodes/lab-1/run-0001.tar.zst"
#: Why a PUT may be refused once its sender was let in, in the order of the checks; then what may go wrong.
REFUSALS: Final = (
    errors.BadSuffix,
    errors.BadEpisodeName,
    errors.HostMismatch,
    errors.BadSha256Header,
    errors.BadSchemaVersion,
    errors.MissingCommit,
    errors.MalformedCommit,
    errors.CommitRejected,
    errors.GateUnavailable,
    errors.LengthRequired,
    errors.BadContentLength,
    errors.EpisodeTooLarge,
    errors.DiskReserve,
    errors.Conflict,
    errors.BodyTruncated,
    errors.BodyMalformed,
    errors.BodyTimeout,
    errors.ShaMismatch,
    errors.BadArchive,
    errors.StorageFull,
    errors.StorageFailed,
    errors.Moved,
    errors.EpisodeDamaged,
    errors.EpisodeBusy,
)


class RestOfPath(BaseConverter):
    """Whatever follows, slashes and empty segments included: the id rule judges it, not the router."""

    regex = r"[\s\S]*"
    part_isolating = False
    # Behind every route that says more of a path.
    weight = 1000


class EpisodePath(RestOfPath):
    """The same, but for what is told of an episode, which is not for PUT (405)."""

    regex = r"(?![^/]+/[^/]+/contents\Z)[\s\S]*"


def blueprint(services: Services) -> Blueprint:
    """The routes of single episodes."""
    views = Blueprint("episodes", __name__)

    @views.put("/v1/episodes/<episode:path>")
    @operation(
        "Ship an episode",
        access="ship",
        path=_PATH,
        parameters=(*parameters.EPISODE, parameters.SHA256, *parameters.STAMPS),
        body=Body("The episode, a `.tar.zst`.", protocol.EPISODE_MEDIA_TYPE, schemas.BYTES),
        answers={
            201: Answer("It is stored: bytes, name and index line are on stable storage.", schemas.STORED),
            200: Answer("The same bytes were stored already.", schemas.ALREADY_PRESENT),
        },
        errors=REFUSALS,
        example=_EXAMPLE,
        curl="-T run-0001.tar.zst -H \"X-Content-SHA256: $(sha256sum run-0001.tar.zst | cut -d' ' -f1)\" "
        "-H 'X-Schema-Version: 2' -H 'X-Episode-Type: control' -H 'X-Benign-Profile: idle'",
        doc="What the head of the request decides is answered before the body is read, if the client sends "
        "`Expect: 100-continue`. What is stored under a name is never replaced.",
    )
    def put(path: str) -> Response:
        return put_episode(services, request, path)

    @views.get("/v1/episodes/<episode:path>")
    @operation(
        "The bytes of an episode",
        access="read",
        path=_PATH,
        parameters=(*parameters.EPISODE, *parameters.CONDITIONAL, *parameters.RANGE),
        answers=files.answers(
            "The episode.",
            protocol.EPISODE_MEDIA_TYPE,
            Header("Repr-Digest", "SHA-256 of the whole episode (RFC 9530)."),
            Header(
                "X-Withdrawn",
                "Of an episode that was withdrawn from the training set: why, percent-encoded.",
                always=False,
            ),
        ),
        errors=(*files.ERRORS, NotFound, errors.StorageFailed),
        example=_EXAMPLE,
        curl="-o back.tar.zst",
    )
    def get(path: str) -> Response:
        authenticate(services, request).require("read")
        return _send(services, stored_key(path))

    return views


def put_episode(services: Services, request: Request, path: str) -> Response:
    """Answer the PUT of the episode at `path`, what follows ``/v1/episodes/``.

    Raises:
        ReceiverError: it is refused, or was not stored.
    """
    with services.uploads.upload():
        return _put_episode(services, request, path)


def _put_episode(services: Services, request: Request, path: str) -> Response:
    authenticated = False
    started = time.monotonic()
    try:
        principal = authenticate(services, request)
        authenticated = True
        outcome = _receive(services, request, path, principal)
    except ReceiverError as exc:
        upload_facts.refused(
            services, _said_names(path), code_commit(request.headers), exc, authenticated=authenticated
        )
        raise
    if outcome.new:
        services.uploads.stored(time.monotonic() - started)
    else:
        services.uploads.already_present()
        upload_facts.already_present(services, _said_names(path), code_commit(request.headers))
    return _answer(outcome)


def _receive(services: Services, request: Request, path: str, principal: Principal) -> Outcome:
    key = uploaded_key(path)
    principal.require("ship")
    principal.require_host(key.host_id)
    settings = services.settings
    upload = admit(
        key, request.headers, settings=settings, gate=services.gate, free_bytes=services.free_bytes
    )

    body = request_body(
        request,
        upload.size_bytes,
        settings.max_episode_bytes,
        services.check_space,
        services.uploads.received,
    )
    return receive_episode(
        upload,
        body,
        store=services.store,
        index=services.index,
        clock=services.clock,
        inspector=inspector(settings),
    )


def _answer(outcome: Outcome) -> Response:
    episode = outcome.episode
    if outcome.new:
        stored = {"status": "stored", "sha256": episode.sha256, "size_bytes": episode.size_bytes}
        return json_answer(stored, 201)
    return json_answer({"status": "already-present", "sha256": episode.sha256})


def _send(services: Services, key: EpisodeKey) -> Response:
    episode = services.index.find(key)
    stored = services.store.open(key) if episode else None
    if episode is None or stored is None:
        raise NotFound("no such episode is stored")
    response = files.send(
        request,
        files.Representation(
            stored.stream,
            stored.size_bytes,
            episode.sha256,
            stored.modified_ns // 10**9,
            protocol.EPISODE_MEDIA_TYPE,
        ),
    )
    response.headers["Repr-Digest"] = protocol.repr_digest(episode.sha256)
    withdrawal = services.index.withdrawal(key)
    if withdrawal is not None:
        response.headers["X-Withdrawn"] = quote(withdrawal.why, safe="")
    return response


def _said_names(path: str) -> tuple[str, str]:
    """What a path gives as host and episode, valid or not."""
    host_id, _, name = path.partition("/")
    return host_id, name.removesuffix(protocol.EPISODE_SUFFIX)

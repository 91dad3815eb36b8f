"""``/v1/uploads``: an episode's way in, piece by piece (tus 1.0.0, https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.http import http_date

from cis490_receiver import errors, protocol
from cis490_receiver.errors import ReceiverError
from cis490_receiver.models import Upload
from cis490_receiver.policy import pieces
from cis490_receiver.policy.admission import admit
from cis490_receiver.policy.auth import Principal
from cis490_receiver.policy.headers import code_commit
from cis490_receiver.storage.base.partials import PartialUpload
from cis490_receiver.views import body, upload_facts
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.episodes import REFUSALS
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, Body, Header, operation
from cis490_receiver.views.openapi.document import EXAMPLE_UPLOAD
from cis490_receiver.views.wiring import Services, authenticate

_PATH: Final = protocol.UPLOADS_PATH
_ONE: Final = f"{_PATH}/<upload_id>"
_DOCUMENTED: Final = f"{_PATH}/{{upload_id}}"
_EXAMPLE: Final = f"{_PATH}/{EXAMPLE_UPLOAD}"
_TUS: Final = f"-H 'Tus-Resumable: {protocol.TUS_VERSION}'"
_METHOD_OVERRIDE: Final = "X-HTTP-Method-Override"
#: How an upload may end, and what may happen on the way.
_ENDS: Final = (
    errors.UploadLocked,
    errors.UploadExpired,
    errors.UploadLost,
    errors.ShaMismatch,
    errors.BadArchive,
    errors.Conflict,
    errors.StorageFull,
    errors.StorageFailed,
    errors.Moved,
    errors.EpisodeDamaged,
    errors.EpisodeBusy,
)
_NOT_YOURS: Final = (errors.UnsupportedTusVersion, errors.NotFound)
_BROKEN: Final = (errors.BodyTruncated, errors.BodyMalformed, errors.BodyTimeout)
_PIECE: Final = (
    errors.BadUploadHeader,
    errors.BadContentType,
    errors.OffsetMismatch,
    errors.UploadOverrun,
    errors.ChecksumMismatch,
    errors.LengthRequired,
    errors.BadContentLength,
    *_BROKEN,
)
#: What a fleet monitor hears of when it ends an upload: an episode was refused.
_VERDICTS: Final = (errors.ShaMismatch, errors.BadArchive, errors.Conflict)
_PROGRESS: Final = (
    Header("Upload-Offset", "How many bytes are on stable storage."),
    Header("Upload-Expires", "When it is discarded if nothing more comes (RFC 9110 §5.6.7)."),
    Header("X-Episode-Status", "`stored` or `already-present`, once the episode is complete.", always=False),
    Header("Repr-Digest", "SHA-256 of the whole (RFC 9530), once the episode is complete.", always=False),
)


def blueprint(services: Services) -> Blueprint:
    """The routes of uploads in pieces."""
    views = Blueprint("uploads", __name__)

    @views.after_request
    def speak_tus(response: Response) -> Response:
        response.headers["Tus-Resumable"] = protocol.TUS_VERSION
        if response.status_code == 412:
            response.headers["Tus-Version"] = protocol.TUS_VERSION
        return response

    @views.route(_PATH, methods=["OPTIONS"])
    @operation(
        "What of tus this server speaks",
        access="everybody",
        answers={
            204: Answer(
                "See the headers.",
                schemas.BYTES,
                None,
                (
                    Header("Tus-Version", "The version of the protocol."),
                    Header("Tus-Extension", "Its extensions."),
                    Header("Tus-Max-Size", "The largest episode in bytes."),
                    Header("Tus-Checksum-Algorithm", "The algorithm of `Upload-Checksum`."),
                ),
            )
        },
        example=_PATH,
        curl="-X OPTIONS -i",
    )
    def options() -> Response:
        return Response(
            status=204,
            headers={
                "Tus-Version": protocol.TUS_VERSION,
                "Tus-Extension": ",".join(protocol.TUS_EXTENSIONS),
                "Tus-Max-Size": str(services.settings.max_episode_bytes),
                "Tus-Checksum-Algorithm": "sha256",
            },
        )

    @views.get(_PATH)
    @operation(
        "The uploads in pieces that are under way",
        access="read",
        answers={200: Answer("Each that has not ended, in no order.", schemas.UPLOADS)},
        errors=(errors.StorageFailed,),
        example=_PATH,
    )
    def under_way() -> Response:
        authenticate(services, request).require("read")
        waiting = services.resumables.partials.waiting()
        return json_answer({"uploads": list(map(services.resumables.describe, waiting))})

    @views.post(_PATH)
    @operation(
        "Begin to ship an episode in pieces",
        access="ship",
        parameters=parameters.NEW_UPLOAD,
        answers={
            201: Answer(
                "It was begun; and completed, where the body was the whole or the same bytes were stored already.",
                schemas.UPLOAD,
                headers=(Header("Location", "The upload's own path."), *_PROGRESS),
            )
        },
        errors=(errors.UnsupportedTusVersion, errors.TooManyUploads, *REFUSALS, *_PIECE, *_ENDS),
        example=_PATH,
        curl=f"-i -X POST {_TUS} -H \"Upload-Length: $(stat -c %s run-0001.tar.zst)\" -H 'X-Host-Id: lab-1' "
        "-H 'X-Episode-Id: run-0001' -H \"X-Content-SHA256: $(sha256sum run-0001.tar.zst | cut -d' ' -f1)\"",
        doc="Judged as a PUT is, by the same rules in the same order. What the headers of a PUT say may come as "
        "`Upload-Metadata` instead, under the names `host_id`, `episode_id`, `sha256`, `schema_version`, "
        "`code_commit`, `episode_type`, `benign_profile`. The first bytes may come at once, as in PATCH.",
    )
    def create() -> Response:
        with services.uploads.upload():
            return _create(services)

    @views.route(_ONE, methods=["GET", "HEAD"])
    @operation(
        "Where an upload in pieces goes on, or how it ended",
        access="ship",
        path=_DOCUMENTED,
        parameters=(parameters.UPLOAD_ID, parameters.TUS_RESUMABLE_BUT_GET),
        answers={
            200: Answer(
                "It is under way, or complete.",
                schemas.UPLOAD,
                headers=(
                    Header("Upload-Length", "How many bytes the whole has."),
                    *_PROGRESS,
                    Header("Upload-Metadata", "As it came when the upload was made.", always=False),
                ),
            )
        },
        errors=(*_NOT_YOURS, *_ENDS),
        example=_EXAMPLE,
        doc="The same answer as to the request that completed it, for a day. GET needs no `Tus-Resumable`.",
    )
    def look(upload_id: str) -> Response:
        return _look(services, upload_id)

    @views.patch(_ONE)
    @operation(
        "Send the next bytes of an episode",
        access="ship",
        path=_DOCUMENTED,
        parameters=(parameters.UPLOAD_ID, parameters.TUS_RESUMABLE, *parameters.PIECE),
        body=Body("The bytes from `Upload-Offset` on.", protocol.TUS_MEDIA_TYPE, schemas.BYTES),
        answers={
            204: Answer(
                "They are on stable storage; the episode is, if it is complete.",
                schemas.BYTES,
                None,
                _PROGRESS,
            )
        },
        errors=(*_NOT_YOURS, *_PIECE, *_ENDS),
        example=_EXAMPLE,
        curl=f"-X PATCH {_TUS} -H 'Upload-Offset: 0' -H 'Content-Type: {protocol.TUS_MEDIA_TYPE}' "
        "--data-binary @run-0001.tar.zst",
        doc="What came of a request that is cut off is kept, but for one with `Upload-Checksum`, whose bytes are kept "
        "when they match. Of an upload that has ended, no bytes are taken any more.",
    )
    def append(upload_id: str) -> Response:
        return _append(services, upload_id)

    @views.post(_ONE)
    @operation(
        "PATCH or DELETE for clients that cannot send these",
        access="ship",
        path=_DOCUMENTED,
        parameters=(
            parameters.UPLOAD_ID,
            parameters.TUS_RESUMABLE,
            parameters.METHOD_OVERRIDE,
            *parameters.PIECE,
        ),
        answers={204: Answer("As PATCH or DELETE.", schemas.BYTES, None)},
        errors=(*_NOT_YOURS, *_PIECE, *_ENDS, errors.MethodNotAllowed),
        example=_EXAMPLE,
        curl=f"-X POST {_TUS} -H '{_METHOD_OVERRIDE}: PATCH' -H 'Upload-Offset: 0' "
        f"-H 'Content-Type: {protocol.TUS_MEDIA_TYPE}' --data-binary @run-0001.tar.zst",
    )
    def override(upload_id: str) -> Response:
        instead = request.headers.get(_METHOD_OVERRIDE, "").strip().upper()
        if instead == "PATCH":
            return _append(services, upload_id)
        if instead == "DELETE":
            return _discard(services, upload_id)
        if instead == "HEAD":
            return _look(services, upload_id)
        raise errors.MethodNotAllowed

    @views.delete(_ONE)
    @operation(
        "End an upload in pieces and forget it",
        access="ship",
        path=_DOCUMENTED,
        parameters=(parameters.UPLOAD_ID, parameters.TUS_RESUMABLE),
        answers={204: Answer("Nothing is left of it but an episode that it completed.", schemas.BYTES, None)},
        errors=(
            *_NOT_YOURS,
            errors.UploadLocked,
            errors.UploadExpired,
            errors.StorageFull,
            errors.StorageFailed,
        ),
        example=_EXAMPLE,
        curl=f"-X DELETE {_TUS}",
    )
    def discard(upload_id: str) -> Response:
        return _discard(services, upload_id)

    return views


def _create(services: Services) -> Response:
    said: dict[str, str] = {}
    authenticated = False
    try:
        principal = authenticate(services, request)
        authenticated = True
        pieces.check_version(request.headers)
        said = pieces.metadata(request.headers)
        upload = _admit(services, principal, said)
        state = services.resumables.begin(
            upload, owner=_owner(principal), metadata=request.headers.get("Upload-Metadata", "").strip()
        )
        if _brings_bytes():
            state = _append_body(services, state, 0)
        elif state.has_every_byte:
            state = services.resumables.look(state)
    except ReceiverError as exc:
        headers = pieces.AnnouncedHeaders(request.headers, said)
        names = pieces.announced_names(request.headers, said)
        upload_facts.refused(services, names, code_commit(headers), exc, authenticated=authenticated)
        raise
    _count_end(services, state)
    response = json_answer(services.resumables.describe(state), 201)
    response.headers["Location"] = f"{_PATH}/{state.upload_id}"
    return _with_progress(services, response, state)


def _admit(services: Services, principal: Principal, said: dict[str, str]) -> Upload:
    key = pieces.announced_key(request.headers, said)
    principal.require("ship")
    principal.require_host(key.host_id)
    try:
        return admit(
            key,
            pieces.AnnouncedHeaders(request.headers, said),
            settings=services.settings,
            gate=services.gate,
            free_bytes=services.free_bytes,
        )
    except (errors.LengthRequired, errors.BadContentLength) as exc:
        raise pieces.true_to_upload(exc) from None


def _look(services: Services, upload_id: str) -> Response:
    state = _find(services, upload_id, tus=request.method != "GET")
    ended = state.verdict is not None
    with _refusing(services, state):
        state = services.resumables.look(state)
    if not ended:
        _count_end(services, state)
    response = json_answer(services.resumables.describe(state))
    response.headers["Upload-Length"] = str(state.announced.size_bytes)
    response.headers["Cache-Control"] = "no-store"
    if state.announced.metadata:
        response.headers["Upload-Metadata"] = state.announced.metadata
    return _with_progress(services, response, state)


def _append(services: Services, upload_id: str) -> Response:
    with services.uploads.request():
        state = _find(services, upload_id)
        if request.mimetype != protocol.TUS_MEDIA_TYPE:
            raise errors.BadContentType
        offset = pieces.offset(request.headers)
        ended = state.verdict is not None
        with _refusing(services, state):
            state = _append_body(services, state, offset)
        if not ended:
            _count_end(services, state)
        return _with_progress(services, Response(status=204), state)


def _append_body(services: Services, state: PartialUpload, offset: int) -> PartialUpload:
    try:
        piece = body.piece_body(request, protocol.MAX_SIZE_BYTES, services.uploads.received)
    except errors.EpisodeTooLarge:
        raise errors.UploadOverrun from None
    sha256 = pieces.checksum(request.headers)
    state = services.resumables.append(state, offset, piece, sha256=sha256)
    if not piece.complete:
        # It had ended before, and its client sends all of it again.
        body.drain_patiently(request, state.announced.size_bytes)
    return state


def _discard(services: Services, upload_id: str) -> Response:
    services.resumables.discard(_find(services, upload_id))
    return Response(status=204)


def _find(services: Services, upload_id: str, *, tus: bool = True) -> PartialUpload:
    principal = authenticate(services, request)
    principal.require("ship")
    if tus:
        pieces.check_version(request.headers)
    if not pieces.is_upload_id(upload_id):
        raise errors.NotFound("there is no such upload")
    return services.resumables.find(upload_id, owner=_owner(principal))


def _owner(principal: Principal) -> str:
    """What an upload remembers of who made it: another token gets 404, and the fleet's own may change."""
    return "fleet" if principal.token is None else principal.token.sha256


def _brings_bytes() -> bool:
    chunked = "Transfer-Encoding" in request.headers
    return request.mimetype == protocol.TUS_MEDIA_TYPE and (chunked or bool(request.content_length))


@contextlib.contextmanager
def _refusing(services: Services, state: PartialUpload) -> Iterator[None]:
    """Where the block ends `state` with a refusal, it is counted, and the fleet monitor hears of it; not where that was
    only told again."""
    try:
        yield
    except _VERDICTS as exc:
        if state.verdict is None:
            services.uploads.refused(exc)
            names, commit = _said_of(state)
            upload_facts.refused(services, names, commit, exc, authenticated=True)
        raise


def _count_end(services: Services, state: PartialUpload) -> None:
    if state.verdict is None:
        return
    if state.verdict.status == "stored":
        services.uploads.stored((state.verdict.at_ns - state.announced.at_ns) / 1e9)
    else:
        services.uploads.already_present()
        upload_facts.already_present(services, *_said_of(state))


def _said_of(state: PartialUpload) -> tuple[tuple[str, str], str | None]:
    upload = state.announced.upload
    return (upload.key.host_id, upload.key.episode_id), upload.stamps.code_commit


def _with_progress(services: Services, response: Response, state: PartialUpload) -> Response:
    response.headers["Upload-Offset"] = str(state.reached)
    response.headers["Upload-Expires"] = http_date(services.resumables.expires_ns(state) // 10**9)
    if state.verdict is not None:
        response.headers["X-Episode-Status"] = state.verdict.status
        response.headers["Repr-Digest"] = protocol.repr_digest(state.announced.upload.sha256)
    return response

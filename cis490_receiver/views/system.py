"""Health, readiness and the ping."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from cis490_receiver import protocol
from cis490_receiver.errors import BadEpisodeName, GateUnavailable, NotReady, ReceiverError
from cis490_receiver.monitor import heartbeat
from cis490_receiver.policy.admission import is_preflight, preflight
from cis490_receiver.policy.auth import Principal
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, operation
from cis490_receiver.views.wiring import Services, authenticate


def blueprint(services: Services) -> Blueprint:
    """The routes that say how the receiver is."""
    views = Blueprint("system", __name__)

    @views.get("/v1/health")
    @operation(
        "Whether the receiver runs",
        access="everybody",
        answers={200: Answer("It runs. Nothing else was looked at.", schemas.record(status=schemas.TEXT))},
        example="/v1/health",
    )
    def health() -> Response:
        return json_answer({"status": "ok"})

    @views.get("/v1/ready")
    @operation(
        "Whether it could take an episode now",
        access="everybody",
        answers={200: Answer("It could.", schemas.READY)},
        errors=(NotReady,),
        example="/v1/ready",
        doc="`warnings` has what does not stop an episode and should be looked at.",
    )
    def ready() -> Response:
        reasons = not_ready_reasons(services)
        if reasons:
            raise NotReady(None, status="not-ready", reasons=reasons)
        return json_answer({"status": "ready", "warnings": warnings(services)})

    @views.post("/v1/ping")
    @operation(
        "Whether the token is good, and whether an episode with these headers would be taken",
        access="any token",
        parameters=parameters.PREFLIGHT,
        answers={200: Answer("The token is good.", schemas.PONG)},
        example="/v1/ping",
        curl="-X POST -H 'X-Lab-Host: lab-1' -H 'X-Schema-Version: 2'",
        doc="Writes nothing. With any header of a PUT but `X-Lab-Host`, "
        "the answer has `would_accept` and, when that is false, "
        "the `code` and `error` that the PUT would be refused with.",
    )
    def ping() -> Response:
        principal = authenticate(services, request)
        answer: dict[str, Any] = {
            "ok": True,
            "host_id": request.headers.get(protocol.HEADER_LAB_HOST),
            "t_wall_ns": services.clock.now_ns(),
            "schema_version": protocol.SCHEMA_VERSION,
        }
        if is_preflight(request.headers):
            answer |= _preflight(services, principal)
        return json_answer(answer)

    return views


def not_ready_reasons(services: Services) -> list[str]:
    """Why an episode could not be taken now, as stable error codes; empty when it could."""
    reasons = []
    for check in (services.store.check_writable, services.index.check_writable, services.check_space):
        try:
            check()
        except ReceiverError as exc:
            if exc.code not in reasons:
                reasons.append(exc.code)
    if services.gate is not None:
        try:
            services.gate.snapshot()
        except GateUnavailable as exc:
            reasons.append(exc.code)
    return reasons


def warnings(services: Services) -> list[dict[str, Any]]:
    """What does not stop an episode from being taken and should be looked at."""
    found: list[dict[str, Any]] = []
    age = heartbeat.age_seconds(services.heartbeat, services.clock.now_ns())
    if age is None or age > heartbeat.STALE_SECONDS:
        found.append({"code": "health-check-not-running", "age_seconds": None if age is None else round(age)})
    if services.gate is not None:
        age = services.gate.snapshot().age_seconds(services.clock.now_ns())
        if age > services.settings.gate_max_age_hours * 3600:
            found.append({"code": "gate-stale", "age_seconds": round(age)})
    return found


def _preflight(services: Services, principal: Principal) -> dict[str, Any]:
    try:
        principal.require("ship")
        if protocol.HEADER_LAB_HOST in request.headers:
            if not protocol.is_valid_id(request.headers[protocol.HEADER_LAB_HOST]):
                raise BadEpisodeName
            principal.require_host(request.headers[protocol.HEADER_LAB_HOST])
        preflight(
            request.headers,
            settings=services.settings,
            gate=services.gate,
            free_bytes=services.free_bytes,
        )
    except ReceiverError as exc:
        return {"would_accept": False, "code": exc.code, "error": exc.message, **exc.details}
    return {"would_accept": True}

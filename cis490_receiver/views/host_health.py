"""``/v1/host-health``: the hosts' doctor reports. Never behind the version gate."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, request

from cis490_receiver import protocol
from cis490_receiver.errors import BadHostId, EpisodeTooLarge, NotFound, ReportTooLarge
from cis490_receiver.index.base import ReportStore
from cis490_receiver.logfmt import event
from cis490_receiver.policy.headers import body_length
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.body import request_body
from cis490_receiver.views.wiring import Services, authenticate

log = logging.getLogger(__name__)

MAX_REPORT_BYTES: Final = 1 << 20


def blueprint(services: Services) -> Blueprint:
    """The routes of the doctor reports."""
    views = Blueprint("host_health", __name__)

    @views.put("/v1/host-health/<rest:host_id>")
    def put_report(host_id: str) -> Response:
        principal = authenticate(services, request)
        reports = _reports(services)
        _check_host_id(host_id)
        principal.require("ship")
        principal.require_host(host_id)
        reports.put(host_id, reports.parse(_read_body()), services.clock.now_ns())
        log.info(event("report", host=host_id))
        return json_answer({"status": "stored", "host_id": host_id})

    @views.get("/v1/host-health/<rest:host_id>")
    def get_report(host_id: str) -> Response:
        authenticate(services, request).require("read")
        reports = _reports(services)
        _check_host_id(host_id)
        history = [asdict(past) for past in reports.history(host_id)]
        return json_answer(asdict(reports.get(host_id)) | {"history": history})

    @views.get("/v1/host-health")
    def list_reports() -> Response:
        authenticate(services, request).require("read")
        reports = _reports(services)
        return Response(
            b'{"hosts":[' + b",".join(reports.all_json()) + b"]}\n", content_type="application/json"
        )

    return views


def _reports(services: Services) -> ReportStore:
    if services.reports is None:
        raise NotFound("this receiver takes no doctor reports")
    return services.reports


def _check_host_id(host_id: str) -> None:
    if not protocol.is_valid_id(host_id):
        raise BadHostId


def _read_body() -> bytes:
    """The body, of at most 1 MiB.

    Raises:
        ReportTooLarge: it is larger.
        ReceiverError: it is cut short, malformed or too slow.
    """
    try:
        length = body_length(request.headers, MAX_REPORT_BYTES)
        body = request_body(request, length, MAX_REPORT_BYTES)
        buffer = bytearray(64 * 1024)
        pieces = []
        while (count := body.readinto(memoryview(buffer))) > 0:
            pieces.append(bytes(buffer[:count]))
    except EpisodeTooLarge:
        raise ReportTooLarge(None, max_report_bytes=MAX_REPORT_BYTES) from None
    return b"".join(pieces)

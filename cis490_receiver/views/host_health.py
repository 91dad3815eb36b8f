"""``/v1/host-health``: the hosts' doctor reports. Never behind the version gate."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, request

from cis490_receiver import protocol
from cis490_receiver.errors import (
    BadContentLength,
    BadHostId,
    BodyMalformed,
    BodyTimeout,
    BodyTruncated,
    EpisodeTooLarge,
    HostMismatch,
    LengthRequired,
    NotFound,
    ReportNotJson,
    ReportNotObject,
    ReportTooLarge,
    StorageFailed,
    StorageFull,
)
from cis490_receiver.index.base import ReportStore
from cis490_receiver.logfmt import event
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.body import read_whole
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import JSON, Answer, Body, operation
from cis490_receiver.views.wiring import Services, authenticate

log = logging.getLogger(__name__)

MAX_REPORT_BYTES: Final = 1 << 20
_PATH: Final = "/v1/host-health/{host_id}"


def blueprint(services: Services) -> Blueprint:
    """The routes of the doctor reports."""
    views = Blueprint("host_health", __name__)

    @views.put("/v1/host-health/<rest:host_id>")
    @operation(
        "Store a host's doctor report",
        access="ship",
        path=_PATH,
        parameters=(parameters.HOST_ID,),
        body=Body("What the host found, at most 1 MiB of I-JSON (RFC 7493).", JSON, schemas.REPORT),
        answers={200: Answer("It is stored.", schemas.record(status=schemas.TEXT, host_id=schemas.TEXT))},
        errors=(
            NotFound,
            BadHostId,
            HostMismatch,
            LengthRequired,
            BadContentLength,
            ReportTooLarge,
            BodyTruncated,
            BodyMalformed,
            BodyTimeout,
            ReportNotJson,
            ReportNotObject,
            StorageFull,
            StorageFailed,
        ),
        example="/v1/host-health/lab-1",
        curl='-X PUT -H \'Content-Type: application/json\' -d \'{"checks": [{"name": "disk", "status": "ok"}]}\'',
        doc="Never behind the version gate. "
        "`checks` is a list of objects with `name` and `status` (`ok`, `warn` or `fail`).",
    )
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
    @operation(
        "A host's latest doctor report, and 30 days of which checks failed",
        access="read",
        path=_PATH,
        parameters=(parameters.HOST_ID,),
        answers={200: Answer("The report.", schemas.REPORT_WITH_HISTORY)},
        errors=(NotFound, BadHostId),
        example="/v1/host-health/lab-1",
    )
    def get_report(host_id: str) -> Response:
        authenticate(services, request).require("read")
        reports = _reports(services)
        _check_host_id(host_id)
        history = [asdict(past) for past in reports.history(host_id)]
        return json_answer(asdict(reports.get(host_id)) | {"history": history})

    @views.get("/v1/host-health")
    @operation(
        "The latest doctor report of every host, sorted by host",
        access="read",
        answers={
            200: Answer("All reports.", schemas.record(hosts=schemas.listed(schemas.reference("Report"))))
        },
        errors=(NotFound,),
        example="/v1/host-health",
    )
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
        return read_whole(request, MAX_REPORT_BYTES)
    except EpisodeTooLarge:
        raise ReportTooLarge(None, max_report_bytes=MAX_REPORT_BYTES) from None

"""What ails the fleet, and what was raised of it."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, request

from cis490_receiver.errors import BadRequest, StorageFailed
from cis490_receiver.policy.query import parse_limit
from cis490_receiver.state.base.alerts import AlertPage
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, operation
from cis490_receiver.views.wiring import Services, authenticate


def blueprint(services: Services) -> Blueprint:
    """The routes of the fleet monitor."""
    views = Blueprint("symptoms", __name__)

    @views.get("/v1/symptoms")
    @operation(
        "What ails the fleet now, as `health-check --json` says it",
        access="read",
        answers={200: Answer("Counts, and every symptom.", schemas.reference("Findings"))},
        errors=(StorageFailed,),
        example="/v1/symptoms",
        doc="Nothing is raised by asking. Episodes are looked at as `health-check` does, but none by chance.",
    )
    def list_symptoms() -> Response:
        authenticate(services, request).require("read")
        return json_answer(services.watch.findings(services.clock.now_ns()).as_dict())

    @views.get("/v1/alerts")
    @operation(
        "What the fleet monitor raised, newest first",
        access="read",
        parameters=(parameters.LIMIT, parameters.CURSOR),
        answers={
            200: Answer(
                "A page of alerts.",
                schemas.record(
                    alerts=schemas.listed(schemas.reference("Alert")), next=schemas.nullable("string")
                ),
            )
        },
        errors=(BadRequest, StorageFailed),
        example="/v1/alerts?limit=10",
    )
    def list_alerts() -> Response:
        authenticate(services, request).require("read")
        found = alert_page(services)
        return json_answer({"alerts": [asdict(alert) for alert in found.alerts], "next": found.next})

    return views


def alert_page(services: Services) -> AlertPage:
    """The page of alerts that the request asks for.

    Raises:
        BadRequest: it asks for something else.
    """
    for name, values in request.args.lists():
        if name not in ("limit", "cursor") or len(values) > 1:
            raise BadRequest("known are limit and cursor, each once")
    arguments = request.args.to_dict()
    return services.alerts.page(limit=parse_limit(arguments), cursor=arguments.get("cursor"))

"""``GET /alerts``: what was raised, as a timeline."""

from __future__ import annotations

import itertools
from dataclasses import asdict

from flask import Blueprint, Response, request

from cis490_receiver.views.openapi import declaration
from cis490_receiver.views.pages.rendering import page_or_json
from cis490_receiver.views.pages.visitor import visitor_of
from cis490_receiver.views.symptoms import alert_page
from cis490_receiver.views.wiring import Services


def add_routes(views: Blueprint, services: Services) -> None:
    """The page of the alerts."""

    @views.get("/alerts")
    @declaration.page
    def show_alerts() -> Response:
        visitor = visitor_of(services, request)
        found = alert_page(services)
        days = [
            (day, list(alerts)) for day, alerts in itertools.groupby(found.alerts, lambda a: a.at_wall[:10])
        ]
        return page_or_json(
            "alerts.html",
            visitor,
            lambda: {"alerts": [asdict(alert) for alert in found.alerts], "next": found.next},
            days=days,
            next=found.next,
            is_first="cursor" not in request.args,
            limit=request.args.get("limit"),
        )

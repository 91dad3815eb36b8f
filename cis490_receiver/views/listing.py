"""What was stored: pages of records, the index itself, a line a host, and the figures for Prometheus."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any, Final

from flask import Blueprint, Response, request

from cis490_receiver.errors import BadRequest, StorageFailed
from cis490_receiver.models import wall_time
from cis490_receiver.policy.query import TOTALS_ARGUMENTS, parse_dimensions, parse_filters, parse_limit
from cis490_receiver.views import files, metrics
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.openapi import parameters, schemas
from cis490_receiver.views.openapi.declaration import Answer, Header, operation
from cis490_receiver.views.wiring import Services, authenticate

#: How many groups ``GET /v1/totals`` gives at most: some MB.
MAX_GROUPS: Final = 20_000


def blueprint(services: Services) -> Blueprint:
    """The routes that read the index."""
    views = Blueprint("listing", __name__)

    def authorize() -> None:
        authenticate(services, request).require("read")

    @views.get("/v1/episodes")
    @operation(
        "Records of what is stored, newest first",
        access="read",
        parameters=parameters.LISTING,
        answers={200: Answer("A page of records.", schemas.reference("EpisodePage"))},
        errors=(StorageFailed,),
        example="/v1/episodes?host=lab-1&limit=10",
        doc="A filter that is unknown, malformed or given twice is refused: more would come than was asked for.",
    )
    def list_episodes() -> Response:
        authorize()
        arguments = _single_arguments()
        filters = parse_filters(arguments)
        page = services.index.page(filters, limit=parse_limit(arguments), cursor=arguments.get("cursor"))
        return json_answer({"episodes": page.records(filters), "next": page.next})

    @views.get("/v1/totals")
    @operation(
        "How many episodes and bytes there are, by host, day and kind",
        access="read",
        parameters=parameters.TOTALS,
        answers={
            200: Answer(
                "Every group that has any, sorted.",
                schemas.record(
                    by=schemas.listed(schemas.TEXT), totals=schemas.listed(schemas.reference("Total"))
                ),
            )
        },
        errors=(StorageFailed,),
        example="/v1/totals?by=episode_type,benign_profile",
        doc=f"More than {MAX_GROUPS} groups are refused. Days are those of the arrival, UTC.",
    )
    def get_totals() -> Response:
        authorize()
        arguments = _single_arguments()
        by = parse_dimensions(arguments)
        totals = services.index.totals(parse_filters(arguments, TOTALS_ARGUMENTS), by, limit=MAX_GROUPS + 1)
        if len(totals) > MAX_GROUPS:
            raise BadRequest(f"more than {MAX_GROUPS} groups; count by less, or filter")
        return json_answer(
            {
                "by": by,
                "totals": [
                    {**total.group, "episodes": total.episodes, "size_bytes": total.size_bytes}
                    for total in totals
                ],
            }
        )

    @views.get("/v1/index.jsonl")
    @operation(
        "The index: a JSON line for each episode, in the order of their arrival",
        access="read",
        parameters=(*parameters.CONDITIONAL, *parameters.RANGE, parameters.ACCEPT_ENCODING),
        answers=files.compressible_answers(
            "All whole lines.",
            "application/jsonl",
            Header("X-Index-Generation", "As long as it is the same, what was read before has not changed."),
        ),
        errors=(*files.ERRORS, StorageFailed),
        example="/v1/index.jsonl",
        doc="To follow it, ask for a range from the offset that was reached; 416 says that nothing is new. "
        "The whole comes compressed to whoever asks for that, a range never; each has an entity tag of its own.",
    )
    def get_index() -> Response:
        authorize()
        return _send_index(services)

    @views.get("/v1/hosts")
    @operation(
        "What is stored of each host, sorted by host",
        access="read",
        answers={200: Answer("All hosts.", schemas.record(hosts=schemas.listed(schemas.reference("Host"))))},
        errors=(StorageFailed,),
        example="/v1/hosts",
    )
    def list_hosts() -> Response:
        authorize()
        hosts: list[dict[str, Any]] = [
            asdict(host)
            | {
                "first_received_at_wall": wall_time(host.first_received_at_ns),
                "last_received_at_wall": wall_time(host.last_received_at_ns),
            }
            for host in services.index.hosts()
        ]
        return json_answer({"hosts": hosts})

    @views.get("/metrics")
    @operation(
        "Figures for Prometheus",
        access="read",
        answers={200: Answer("Text format 0.0.4.", schemas.TEXT, "text/plain")},
        example="/metrics",
        doc="With `metrics_public` in the configuration, nobody is asked for a token.",
    )
    def get_metrics() -> Response:
        if not services.settings.metrics_public:
            authorize()
        return Response(metrics.render(services), content_type=metrics.CONTENT_TYPE)

    return views


def _single_arguments() -> dict[str, str]:
    """The query's arguments.

    Raises:
        BadRequest: one is given twice.
    """
    if any(len(values) > 1 for _, values in request.args.lists()):
        raise BadRequest("each filter may be given once")
    return request.args.to_dict()


def _send_index(services: Services) -> Response:
    """The whole lines of the index. Its validators change with every line, so a follower asks for a range from
    the offset that it has; what lies before that never changes as long as the generation is the same."""
    journal = services.index.open_journal()
    etag = hashlib.sha256(f"{journal.generation}-{journal.end}".encode("ascii")).hexdigest()[:32]
    modified = journal.modified_ns // 1_000_000_000
    representation = files.Representation(journal.stream, journal.end, etag, modified, "application/jsonl")
    response = files.send_compressible(request, representation)
    response.headers["X-Index-Generation"] = journal.generation
    return response

"""``/data``: the training set's make-up, the newest episodes, and what is in one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from markupsafe import Markup

from cis490_receiver import protocol
from cis490_receiver.errors import BadRequest
from cis490_receiver.filters import FILTERS, Filters
from cis490_receiver.models import nanoseconds
from cis490_receiver.policy.query import parse_filters
from cis490_receiver.stamps import KIND
from cis490_receiver.times import parse_moment
from cis490_receiver.views import charts, make_up, releases
from cis490_receiver.views.answers import json_answer
from cis490_receiver.views.browser import wants_page
from cis490_receiver.views.contents import Looks, as_json, mislabelled
from cis490_receiver.views.openapi.declaration import page
from cis490_receiver.views.pages.rendering import page as html
from cis490_receiver.views.pages.rendering import page_or_json
from cis490_receiver.views.pages.visitor import visitor_of
from cis490_receiver.views.wiring import Services

#: How much a page holds at most: it stays below 100 KB with 200 hosts.
RECENT: Final = 25
RELEASES: Final = 10
MOST_HOSTS: Final = 30
LEAST_HOSTS: Final = 10
CHART_DAYS: Final = 60
STRIP_DAYS: Final = 21
MEMBERS: Final = 300
META_CHARACTERS: Final = 20_000
#: More groups than there are.
_ALL: Final = 1 << 62
#: What a form sends.
_ARGUMENTS: Final = (*FILTERS, "cursor", "hosts")


def blueprint(services: Services, looks: Looks) -> Blueprint:
    """The pages."""
    views = Blueprint("data", __name__, template_folder="templates")

    @views.get("/data")
    @page
    def data() -> Response:
        visitor = visitor_of(services, request)
        # A form sends what was left empty, too.
        arguments = {name: value.strip() for name, value in request.args.items() if value.strip()}
        if not wants_page(request):
            return json_answer(_as_json(services, arguments))
        try:
            shown, status = _shown(services, arguments), 200
        except BadRequest as exc:
            shown, status = {"problem": exc.message}, 400
        return html("data.html", status, visitor=visitor, arguments=arguments, filters=FILTERS, **shown)

    @views.get("/data/<host_id>/<episode_id>")
    @page
    def episode(host_id: str, episode_id: str) -> Response:
        visitor = visitor_of(services, request)
        record, contents = looks.look(host_id, episode_id)
        meta = json.dumps(contents.meta, indent=2, ensure_ascii=False) if contents.meta is not None else None
        return page_or_json(
            "episode.html",
            visitor,
            lambda: as_json(record, contents),
            episode=record,
            withdrawal=services.index.withdrawal(record.key),
            contents=contents,
            mislabelled=mislabelled(record, contents),
            meta=meta and meta[:META_CHARACTERS],
            meta_is_cut=meta is not None and len(meta) > META_CHARACTERS,
            members=contents.members[:MEMBERS],
            download=protocol.episode_path(record.host_id, record.episode_id),
            json_path=f"/v1/episodes/{record.host_id}/{record.episode_id}/contents",
        )

    return views


def _as_json(services: Services, arguments: Mapping[str, str]) -> dict[str, Any]:
    """What a program gets that asks for the page.

    Raises:
        BadRequest: one of `arguments` cannot be used.
    """
    filters = parse_filters(arguments, _ARGUMENTS)
    recent = services.index.page(filters, limit=RECENT, cursor=arguments.get("cursor"))
    kinds = services.index.totals(filters, KIND, limit=_ALL)
    return {
        "totals": [
            dict(total.group) | {"episodes": total.episodes, "size_bytes": total.size_bytes}
            for total in kinds
        ],
        "episodes": recent.records(filters),
        "withdrawn": sum(_withdrawn(services, filters).values()),
        "releases": releases.listed(services),
        "next": recent.next,
    }


def _shown(services: Services, arguments: Mapping[str, str]) -> dict[str, Any]:
    """What the page shows of the episodes that `arguments` choose.

    Raises:
        BadRequest: one of them cannot be used.
    """
    filters = parse_filters(arguments, _ARGUMENTS)
    index = services.index
    recent = index.page(filters, limit=RECENT, cursor=arguments.get("cursor"))
    chosen = {name: value for name, value in arguments.items() if name in FILTERS}
    hosts = make_up.host_rows(index.totals(filters, ("host_id", "episode_type"), limit=_ALL))
    table = make_up.kinds(index.totals(filters, KIND, limit=_ALL))
    days = make_up.by_type(index.totals(filters, ("day", "episode_type"), limit=_ALL), "day")
    listed, between = _listed(hosts, everyone=arguments.get("hosts") == "all")
    withdrawn = _withdrawn(services, filters)
    strips, strip_top = _strips(services, filters, days, {row.host_id for row in listed})
    return {
        "chosen": chosen,
        "query": urlencode(chosen),
        "link": lambda **more: urlencode({**chosen, **more}),
        "types": make_up.TYPES,
        "table": {profile: row for profile, row in table.items() if profile or any(row.values())},
        "most": max((count for row in table.values() for count in row.values()), default=0),
        "episodes": sum(row.episodes for row in hosts),
        "size_bytes": sum(row.size_bytes for row in hosts),
        "withdrawn": sum(withdrawn.values()),
        "withdrawn_of": {} if "withdrawn" in arguments else withdrawn,
        "releases": releases.listed(services),
        "most_releases": RELEASES,
        "hosts": hosts,
        "listed": listed,
        "between": between,
        "first_day": min(days, default=None),
        "last_day": max(days, default=None),
        "remarks": make_up.remarks(table, hosts),
        "columns": _columns(days),
        "strips": strips,
        "strip_days": STRIP_DAYS,
        "strip_top": strip_top,
        "gap_before": listed[-LEAST_HOSTS] if between else None,
        "recent": recent.episodes,
        "next": urlencode({**chosen, "cursor": recent.next}) if recent.next else None,
        "is_first": "cursor" not in arguments,
        "charts": charts,
    }


def _withdrawn(services: Services, filters: Filters) -> dict[str, int]:
    """How many episodes of each host that pass `filters` but for that are withdrawn."""
    totals = services.index.totals(filters.but(withdrawn="only"), ("host_id",), limit=_ALL)
    return {str(total.group["host_id"]): total.episodes for total in totals}


def _listed(hosts: list[make_up.HostRow], *, everyone: bool) -> tuple[list[make_up.HostRow], int]:
    """The hosts that are shown, those with the most and with the least, and how many lie between."""
    between = len(hosts) - MOST_HOSTS - LEAST_HOSTS
    if everyone or between <= 0:
        return hosts, 0
    return [*hosts[:MOST_HOSTS], *hosts[-LEAST_HOSTS:]], between


def _columns(days: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The chart of the last days that have any."""
    if not days:
        return None
    shown = make_up.last_days(max(days), CHART_DAYS)
    counts = [days.get(day, (0,) * len(make_up.TYPES)) for day in shown]
    top = max(map(sum, counts))
    label = (
        f"Episodes a day by type, {shown[0]} to {shown[-1]}; at most {top:,}, "
        f"on {shown[[sum(count) for count in counts].index(top)]}"
    )
    return {"svg": charts.stacked_columns(counts, label), "first": shown[0], "last": shown[-1], "top": top}


def _strips(
    services: Services, filters: Filters, days: Mapping[str, tuple[int, ...]], hosts: set[str]
) -> tuple[dict[str, Markup], int]:
    """Each host's last days as a row of a heat map, on one scale, and the most episodes of a host on a day."""
    if not days:
        return {}, 0
    shown = make_up.last_days(max(days), STRIP_DAYS)
    start = nanoseconds(parse_moment(shown[0]))
    since = max(start, filters.get("since") or 0)
    recent = Filters(**{name: filters.get(name) for name in FILTERS} | {"since": since})
    counts: dict[str, dict[str, int]] = {}
    top = 0
    for total in services.index.totals(recent, ("host_id", "day"), limit=_ALL):
        counts.setdefault(str(total.group["host_id"]), {})[str(total.group["day"])] = total.episodes
        top = max(top, total.episodes)
    strips = {}
    for host in hosts:
        row = [counts.get(host, {}).get(day, 0) for day in shown]
        label = f"{host}: {sum(row):,} episodes in {STRIP_DAYS} days, on {sum(map(bool, row))} of them"
        strips[host] = charts.heat_map([row], label, top=top)
    return strips, top

"""``GET /``: every host at a glance, the sick ones first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from cis490_receiver.errors import BadRequest
from cis490_receiver.monitor.health import BAD, GRAVITY, OFF, RANK, WARN
from cis490_receiver.monitor.watch import HostView
from cis490_receiver.views.charts import sparkline
from cis490_receiver.views.openapi import declaration
from cis490_receiver.views.pages.rendering import page_or_json
from cis490_receiver.views.pages.visitor import visitor_of
from cis490_receiver.views.wiring import Services

#: Column to what it is sorted by, and whether the first click shows the largest first.
SORTS: Final[dict[str, tuple[Callable[[HostView], Any], bool]]] = {
    "state": (lambda host: RANK[host.health.name], False),
    "host": (lambda host: host.host_id, False),
    "last": (lambda host: host.facts.last_stored_at_ns or 0, True),
    "arrivals": (lambda host: sum(host.arrivals), True),
    "commit": (lambda host: -1 if host.commits_behind is None else host.commits_behind, True),
    "refused": (lambda host: host.refused, True),
}
_COLUMNS: Final = {
    "host": "Host",
    "state": "State",
    "last": "Last episode",
    "arrivals": "Last 24 h",
    "commit": "Commit",
    "refused": "Refused",
}
_ATTENTION: Final = "attention"


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the fleet is shown, and in which order."""

    text: str = ""
    #: A word of `GRAVITY`, ``attention`` for all that is wrong, or empty for all.
    state: str = ""
    sort: str = "state"
    reverse: bool = False

    @classmethod
    def of(cls, arguments: dict[str, str]) -> Choice:
        """Read a query.

        Raises:
            BadRequest: it asks for something else.
        """
        if unknown := arguments.keys() - {"q", "state", "sort"}:
            raise BadRequest(f"unknown {min(unknown)[:40]!a}; known are q, state and sort")
        sort = arguments.get("sort", "state")
        state = arguments.get("state", "")
        if sort.removeprefix("-") not in SORTS or state not in ("", _ATTENTION, *GRAVITY):
            raise BadRequest(f"sort is one of {', '.join(SORTS)}; state one of {', '.join(GRAVITY)}")
        return cls(arguments.get("q", "").strip()[:128], state, sort.removeprefix("-"), sort.startswith("-"))

    def apply(self, hosts: Sequence[HostView]) -> list[HostView]:
        """The hosts that are shown."""
        text = self.text.lower()
        chosen = [host for host in hosts if text in host.host_id.lower() and self._has_state(host)]
        value, largest_first = SORTS[self.sort]
        chosen.sort(key=value, reverse=largest_first != self.reverse)
        return chosen

    def _has_state(self, host: HostView) -> bool:
        if self.state == _ATTENTION:
            return host.health.gravity in (BAD, WARN)
        return not self.state or host.health.name == self.state

    def link(self, **changed: str) -> str:
        """The address of this choice with something `changed`."""
        sort = f"-{self.sort}" if self.reverse else self.sort
        given = {"q": self.text, "state": self.state, "sort": sort} | changed
        query = urlencode({name: value for name, value in given.items() if value and value != "state"})
        return f"/?{query}" if query else "/"

    def headings(self) -> list[tuple[str, str, str]]:
        """Title, link and ``aria-sort`` of each column."""
        found = []
        for name, title in _COLUMNS.items():
            chosen = name == self.sort
            link = self.link(sort=f"-{name}" if chosen and not self.reverse else name)
            order = ("descending" if SORTS[name][1] != self.reverse else "ascending") if chosen else ""
            found.append((title, link, order))
        return found


def add_routes(views: Blueprint, services: Services) -> None:
    """The fleet page."""

    @views.get("/")
    @declaration.page
    def show_fleet() -> Response:
        visitor = visitor_of(services, request)
        choice = Choice.of(request.args.to_dict())
        fleet = services.watch.fleet(services.clock.now_ns())
        waiting = sorted(
            services.resumables.partials.waiting(), key=lambda state: state.touched_ns, reverse=True
        )
        counts = Counter(host.health.name for host in fleet.hosts)
        return page_or_json(
            "fleet.html",
            visitor,
            lambda: fleet.as_dict() | {"uploads": list(map(services.resumables.describe, waiting))},
            fleet=fleet,
            uploads=waiting,
            choice=choice,
            hosts=choice.apply(fleet.hosts),
            counts=[(name, GRAVITY[name], counts[name]) for name in GRAVITY if counts[name]],
            sick=sum(host.health.gravity == BAD for host in fleet.hosts),
            warned=sum(host.health.gravity == WARN for host in fleet.hosts),
            expected=sum(host.health.gravity != OFF for host in fleet.hosts),
            stored=sum(host.facts.episodes for host in fleet.hosts),
            withdrawn=sum(host.facts.withdrawn for host in fleet.hosts),
            sparkline=_sparkline,
        )


def _sparkline(host: HostView) -> Any:
    return sparkline(host.arrivals, f"{sum(host.arrivals)} in 24 h")

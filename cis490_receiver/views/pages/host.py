"""``GET /hosts/{host_id}``: everything about one host, and what can be done about it."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response, request

from cis490_receiver import protocol, times
from cis490_receiver.errors import BadHostId, BadRequest, ConfigError, StorageFailed
from cis490_receiver.logfmt import event
from cis490_receiver.models import nanoseconds
from cis490_receiver.monitor import host_story
from cis490_receiver.state.base.notes import Mute, Retirement
from cis490_receiver.views.charts import stacked_columns
from cis490_receiver.views.openapi import declaration
from cis490_receiver.views.pages.rendering import page_or_json, see_other
from cis490_receiver.views.pages.visitor import read_own_form, visitor_of
from cis490_receiver.views.wiring import Services

log = logging.getLogger(__name__)

_LONGEST: Final = dt.timedelta(days=366)
_WHY_LENGTH: Final = 500


def add_routes(views: Blueprint, services: Services) -> None:
    """The page of a host, and its forms."""

    @views.get("/hosts/<host_id>")
    @declaration.page
    def show_host(host_id: str) -> Response:
        visitor = visitor_of(services, request)
        story = _story(services, host_id)
        return page_or_json(
            "host.html",
            visitor,
            story.as_dict,
            story=story,
            host=story.view,
            now_ns=story.now_ns,
            gate=services.settings.gate_enabled,
            columns=stacked_columns,
        )

    @views.post("/hosts/<host_id>/mute")
    @declaration.page
    def mute(host_id: str) -> Response:
        form = read_own_form(services, request)
        now_ns = _known(services, host_id)
        _write(
            lambda: services.mutes.set(
                Mute(host_id, _end_of(form.get("until", ""), now_ns), _why(form)), now_ns
            )
        )
        return _back(host_id)

    @views.post("/hosts/<host_id>/unmute")
    @declaration.page
    def unmute(host_id: str) -> Response:
        read_own_form(services, request)
        now_ns = _known(services, host_id)
        _write(lambda: services.mutes.end(host_id, now_ns))
        return _back(host_id)

    @views.post("/hosts/<host_id>/retire")
    @declaration.page
    def retire(host_id: str) -> Response:
        form = read_own_form(services, request)
        host = _story(services, host_id).view
        # The time is read behind what was stored: an episode that comes from now on undoes it.
        retirement = Retirement(host_id, services.clock.now_ns(), host.facts.last_stored_at_ns, _why(form))
        _write(lambda: services.retirements.set(retirement))
        return _back(host_id)

    @views.post("/hosts/<host_id>/unretire")
    @declaration.page
    def unretire(host_id: str) -> Response:
        read_own_form(services, request)
        _known(services, host_id)
        _write(lambda: services.retirements.end(host_id))
        return _back(host_id)


def _story(services: Services, host_id: str) -> host_story.HostStory:
    if not protocol.is_valid_id(host_id):
        raise BadHostId
    return host_story.story_of(services.watch, host_id, services.clock.now_ns())


def _known(services: Services, host_id: str) -> int:
    """The moment, when there is such a host.

    Raises:
        BadHostId, NotFound: there is none.
    """
    return _story(services, host_id).now_ns


def _why(form: dict[str, str]) -> str:
    why = " ".join(form.get("why", "").split())
    if not why or len(why) > _WHY_LENGTH:
        raise BadRequest(f"say why, in 1 to {_WHY_LENGTH} characters, for whoever wonders")
    return why


def _end_of(text: str, now_ns: int) -> int:
    now = dt.datetime.fromtimestamp(now_ns // 10**9, dt.UTC)
    try:
        end = times.parse_future(text, now)
    except ValueError as exc:
        raise BadRequest(f"until when: {exc}") from None
    if not now < end <= now + _LONGEST:
        raise BadRequest("until when: between now and a year from now")
    return nanoseconds(end)


def _write(change: Callable[[], object]) -> None:
    try:
        change()
    except ConfigError as exc:
        log.error(event("storage-failed", doing="note-of-host", reason=exc.message))
        raise StorageFailed(
            "the notes on hosts are damaged; the receiver's log says how to mend them"
        ) from exc


def _back(host_id: str) -> Response:
    return see_other(f"/hosts/{host_id}")

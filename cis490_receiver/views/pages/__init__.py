"""The pages for people. What each shows comes from the same functions as the JSON, which a program that asks for a
page's address gets: `browser.wants_page` tells them apart."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint
from flask.blueprints import BlueprintSetupState

from cis490_receiver.monitor.health import GRAVITY
from cis490_receiver.views.pages import alerts, assets, fleet, host, signing_in
from cis490_receiver.views.pages.wording import FILTERS
from cis490_receiver.views.wiring import Services

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


def blueprint(services: Services) -> Blueprint:
    """The routes of the pages, and of the files that they are made of."""
    views = Blueprint("pages", __name__, template_folder=str(TEMPLATES))
    files = assets.Assets()
    assets.add_routes(views, files)
    for kind in (fleet, host, alerts, signing_in):
        kind.add_routes(views, services)

    @views.record
    def prepare(state: BlueprintSetupState) -> None:
        environment = state.app.jinja_env
        environment.trim_blocks = environment.lstrip_blocks = True
        environment.filters.update(FILTERS)
        environment.globals.update(asset=files.url, gravity=GRAVITY)

    return views

"""The interface's description of itself says all that the program does, and nothing else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cis490_receiver import create_app, errors, protocol
from cis490_receiver.config import Settings
from cis490_receiver.filters import FILTERS
from cis490_receiver.models import EPISODE_FIELDS
from cis490_receiver.stamps import DECLARED
from cis490_receiver.views.errors import STATUS
from cis490_receiver.views.openapi import document, schemas
from cis490_receiver.views.openapi.declaration import declaration_of
from tests.support.receiver import Receiver

#: Ends a command or the start, and is never an answer.
NOT_OF_HTTP = {errors.ConfigError}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    yield create_app(Settings(data_dir=tmp_path))


@pytest.fixture
def described(app: Flask) -> dict[str, Any]:
    return app.test_client().get("/v1/openapi.json").json


def kinds_of_error(
    above: type[errors.ReceiverError] = errors.ReceiverError,
) -> set[type[errors.ReceiverError]]:
    own = {kind for kind in above.__subclasses__() if kind.__module__.startswith(f"{errors.__name__}.")}
    return own.union(*map(kinds_of_error, own))


def test_it_is_openapi_and_open_to_everybody(shared_receiver: Receiver) -> None:
    answer = shared_receiver.request("GET", "/v1/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    # Imported here, as it takes a second that every run of any test would wait for.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    OpenAPIV31SpecValidator(answer.json).validate()


def test_every_route_says_what_it_is(app: Flask) -> None:
    silent = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if declaration_of(app.view_functions[rule.endpoint]) is None
    }
    assert not silent, (
        "put @operation(…) under the route, or @page where it is no part of the interface for programs "
        f"(views/openapi/declaration.py): {silent}"
    )


def test_what_a_route_says_leads_to_it(app: Flask, described: dict[str, Any]) -> None:
    adapter = app.url_map.bind("localhost")
    seen = set()
    for rule, method, declared in document.operations(app):
        path = document.path_of(rule, declared)
        assert method.lower() in described["paths"][path]
        names = {one.name for one in declared.parameters if one.where == "path"}
        assert set(re.findall(r"\{(\w+)\}", path)) == names, path
        for asked in (re.sub(r"\{\w+\}", "x", path), declared.example.partition("?")[0]):
            assert adapter.match(asked, method)[0] == rule.endpoint, asked
        seen.add((path, method.lower()))
    assert seen == {(path, method) for path, item in described["paths"].items() for method in item}


def test_every_error_has_a_status_and_what_to_do_and_a_request_that_may_get_it(app: Flask) -> None:
    kinds = kinds_of_error() - NOT_OF_HTTP
    assert kinds == set(STATUS)
    assert {kind for kind in kinds if not kind.what_to_do.endswith(".")} == set()
    named = {*document.ANYWHERE, *document.NOWHERE, *document.FORMS}
    for _, _, declared in document.operations(app):
        named |= set(document.raised_by(declared))
    assert kinds <= named, "name it among the `errors` of the routes that may raise it"
    table = document.error_table()
    assert {kind.code: table[kind.code]["status"] for kind in kinds} == {
        kind.code: status for kind, status in STATUS.items()
    }


def test_the_tables_of_fields_and_filters_are_in_it(described: dict[str, Any]) -> None:
    assert described["components"]["schemas"]["Episode"]["required"] == list(EPISODE_FIELDS)
    asked = [item["name"] for item in described["paths"]["/v1/episodes"]["get"]["parameters"]]
    assert asked == [*FILTERS, "limit", "cursor"]
    path = described["paths"]["/v1/episodes/{host_id}/{episode_id}.tar.zst"]
    sent = [item["name"] for item in path["put"]["parameters"] if item["in"] == "header"]
    assert sent == [protocol.HEADER_SHA256, *(item.header for item in DECLARED)]


def test_ids_look_as_it_says() -> None:
    short = ("".join(text) for length in range(6) for text in itertools.product("aZ0._-/é\n", repeat=length))
    pattern = re.compile(schemas.ID["pattern"].removeprefix("^").removesuffix("$"))
    for text in itertools.chain(short, ["a" * 128, "a" * 129, "a." * 64, "." * 128]):
        fits = pattern.fullmatch(text) is not None and len(text) <= schemas.ID["maxLength"]
        assert fits == protocol.is_valid_id(text), text

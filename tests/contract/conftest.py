"""Each test runs on every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.backends import Backends
from tests.contract.places import (
    IMPLEMENTATIONS,
    IN_OBJECTS,
    IN_POSTGRES,
    ONLY_IN_OBJECTS,
    STORES,
    Objects,
    Place,
    Postgres,
    database_of,
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        kept = metafunc.module.__name__.rpartition(".")[2]
        names: list[Any] = [name for name in IMPLEMENTATIONS if name != "postgres" or kept in IN_POSTGRES]
        # Their servers take a while to start.
        stores = [pytest.param(name, marks=pytest.mark.slow) for name in STORES if kept in IN_OBJECTS]
        metafunc.parametrize("place", [*(() if kept in ONLY_IN_OBJECTS else names), *stores], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "data"
    made: Place
    if request.param in STORES:
        kept = request.module.__name__.rpartition(".")[2]
        made = IN_OBJECTS[kept].make(request.param, folder)
    else:
        made = IMPLEMENTATIONS[request.param](folder)
    yield made
    if isinstance(made, Postgres | Objects):
        database_of(made.url).close()


@pytest.fixture
def backends(place: Place) -> Backends:
    return place.open()

"""Each test runs on every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cis490_receiver.backends import Backends
from tests.contract.places import IMPLEMENTATIONS, IN_POSTGRES, Place, Postgres, database_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        kept = metafunc.module.__name__.rpartition(".")[2]
        names = [name for name in IMPLEMENTATIONS if name != "postgres" or kept in IN_POSTGRES]
        metafunc.parametrize("place", names, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = IMPLEMENTATIONS[request.param](tmp_path / "data")
    yield made
    if isinstance(made, Postgres):
        database_of(made.url).close()


@pytest.fixture
def backends(place: Place) -> Backends:
    return place.open()

"""Each test runs on every implementation."""

from __future__ import annotations

from pathlib import Path

import pytest

from cis490_receiver.backends import Backends
from tests.contract.places import IMPLEMENTATIONS, Place


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda kind: kind.__name__.lower())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path / "data")
    return made


@pytest.fixture
def backends(place: Place) -> Backends:
    return place.open()

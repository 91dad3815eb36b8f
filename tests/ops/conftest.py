"""What the tests of the installation share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.receiver import ROOT


@pytest.fixture
def etc() -> Path:
    """The files that people install."""
    return ROOT / "etc"


@pytest.fixture
def plain_environment() -> dict[str, str]:
    """An environment with nothing of the receiver's in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CIS490_")}

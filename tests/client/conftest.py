"""Fixtures for the lab host's programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.client.hosts import Lab


@pytest.fixture
def start_shipper() -> Iterator[Callable[[Lab], subprocess.Popen[bytes]]]:
    """Start `cis490-shipper run`; it is ended with the test."""
    started = []

    def start(lab: Lab) -> subprocess.Popen[bytes]:
        process = lab.start("cis490-shipper", "run")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()

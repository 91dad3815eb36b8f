"""A receiver over a fleet in mixed states, and a browser that looks at it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import need
from tests.support import fleet
from tests.support.browser import Browser, browser
from tests.support.receiver import Receiver

SICK = (fleet.REFUSED, fleet.SILENT, fleet.GONE)
OTHERS = (fleet.UNSTAMPED, fleet.FAILING, fleet.AGING, fleet.MUTED, fleet.RETIRED)


@pytest.fixture(scope="session")
def members() -> dict[str, str]:
    """Kind to one host of that kind, of 200."""
    return {member.kind: member.host_id for member in fleet.members(200, (*SICK, *OTHERS))}


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver with 200 hosts, three of them sick."""
    folder = tmp_path_factory.mktemp("fleet")
    fleet.make(folder / "data", fleet.members(200, (*SICK, *OTHERS)), time.time_ns(), days=10)
    started = Receiver(folder / "data", folder / "receiver.log", gate_enabled="true")
    started.start()
    yield started
    started.stop()


@pytest.fixture
def chromium() -> None:
    """What a browser needs."""
    for program in ("chromium", "chromedriver", "npm"):
        need(program)


@pytest.fixture
def look(watched: Receiver, chromium: None) -> Iterator[Browser]:
    """A new browser."""
    with browser(f"http://127.0.0.1:{watched.port}") as started:
        yield started

"""Fixtures for every test. None of them leaves a process or a file behind."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.receiver import Receiver, running

#: Debian's package for each program that a test may ask for.
PACKAGES = {
    "caddy": "caddy",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "faketime": "faketime",
    "fish": "fish",
    "git": "git",
    "ip": "iproute2",
    "lexgrog": "man-db",
    "man": "man-db",
    "mandoc": "mandoc",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "nft": "nftables",
    "node": "nodejs",
    "npm": "npm",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "ss": "iproute2",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "tc": "iproute2",
    "unshare": "util-linux",
    "zsh": "zsh",
    "zstd": "zstd",
}


def need(program: str) -> str:
    """The path of `program`. Without it the test is skipped, or fails where everything must be there."""
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        message = f"needs {program}: apt-get install {PACKAGES[program]}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture
def tool() -> Callable[[str], str]:
    """See `need`."""
    return need


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """The real receiver with two workers, for one test."""
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def start_receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Start a receiver with settings of one's own; it is ended with the test."""
    started: list[Receiver] = []

    def start(**settings: object) -> Receiver:
        new = Receiver(tmp_path / "data", tmp_path / "receiver.log", **settings)
        started.append(new)
        new.start()
        return new

    yield start
    for one in started:
        one.end()


@pytest.fixture(scope="module")
def shared_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """The real receiver with two workers, for the tests of a module, which keep out of each other's way by
    using hosts of their own."""
    with running(tmp_path_factory.mktemp("shared")) as started:
        yield started


#: What a person waits for between two edits, in half a minute: bin/test --fast runs these, and of them what is not
#: marked as slow by itself.
FAST = (
    "unit",
    "serving",
    "contract",
    "test_imports.py",
    "integration/test_intake.py",
    "integration/test_put_outcomes.py",
    "integration/test_put_refusals.py",
    "integration/test_get_episode.py",
    "integration/test_listing.py",
    "integration/test_host_health.py",
    "integration/test_system.py",
    "storage/test_traces.py",
    "upkeep/test_recovery.py",
    "gate/test_version_gate.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what --fast leaves out as slow."""
    here = Path(__file__).parent
    fast = [here / name for name in FAST]

    @functools.cache
    def is_fast(path: Path) -> bool:
        return any(path.is_relative_to(one) for one in fast)

    for item in items:
        # A database takes a while to start, and most edits are of the way that has none.
        if "[postgres" in item.name or not is_fast(item.path):
            item.add_marker(pytest.mark.slow)

"""Fixtures for every test. None of them leaves a process or a file behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.receiver import Receiver, running

#: Debian's package for each program that a test may ask for.
PACKAGES = {
    "caddy": "caddy",
    "curl": "curl",
    "faketime": "faketime",
    "git": "git",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "nft": "nftables",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "promtool": "prometheus",
    "ss": "iproute2",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "tc": "iproute2",
    "unshare": "util-linux",
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


#: What takes its time by its nature: left out by bin/test --fast.
SLOW_FOLDERS = ("faults", "trainer", "ops", "client", "gate", "maintenance", "storage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of these folders as slow."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)

"""docs/operations.md keeps up with the program."""

from __future__ import annotations

import re
import subprocess

import pytest

from cis490_receiver import errors
from tests.support.receiver import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_log_event_is_explained() -> None:
    explained = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    package = ROOT / "cis490_receiver"
    # What the lab host's programs log is in docs/lab-hosts.md.
    modules = (path for path in package.rglob("*.py") if package / "client" not in path.parents)
    source = "".join(path.read_text() for path in modules)
    logged = set(re.findall(r"\bevent\(\s*\"([a-z-]+)\"", source))
    watched = re.findall(r"\bname=\"([a-z]+)\",\s*describe", source)
    logged |= {f"{name}-{state}" for name in watched for state in ("loaded", "missing", "damaged")}
    logged |= {errors.StorageFull.code, errors.StorageFailed.code, "internal-error"}
    assert logged >= {"stored", "refused", "gate-damaged", "tokens-missing"}
    assert logged - explained == set()


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_commands_are_shell(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_only_files_that_are_installed_are_spoken_of() -> None:
    paths = re.findall(r"/opt/cis490-receiver/(etc/\w+)", PAGE)
    assert paths
    assert all((ROOT / path).exists() for path in paths)

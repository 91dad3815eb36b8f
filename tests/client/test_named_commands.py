"""What our pages and programs tell a person at a lab host to type is there, as bin/install-lab-host leaves it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.receiver import ROOT

PAGES = (
    "docs/lab-hosts.md",
    "docs/episodes.md",
    "FIXYOURSELF.md",
    "etc/lab-host.toml",
    "bin/install-lab-host",
)
SOURCES = (
    "cis490_receiver/client",
    "cis490_receiver/policy/remedies.py",
    "cis490_receiver/monitor/symptoms.py",
)
#: What the maintainer or the lab brings.
BROUGHT = {
    "ca.pem",
    "client.pem",
    "client.key",
    "renew-certificate",
    "venv",
    "releases",
    "shipped",
    "refused",
}


def texts() -> str:
    paths = [ROOT / page for page in PAGES]
    for source in (ROOT / name for name in SOURCES):
        paths += sorted(source.rglob("*.py")) if source.is_dir() else [source]
    # A sentence of a program may go on in the next literal.
    return "".join(re.sub(r'"\n\s*f?"', "", path.read_text()) for path in paths)


def test_every_command_that_is_named_can_be_typed() -> None:
    quoted = r"(?:^|`)(?:sudo )?(cis490-(?:shipper|doctor|ship-health)(?: [^`#\n]*)?)"
    named = {command.strip() for command in re.findall(quoted, texts(), re.MULTILINE)}
    assert {"cis490-shipper --ping", "cis490-shipper autoupdate", "cis490-doctor --json"} <= named
    for command in sorted(named):
        program, *words = [word for word in command.split() if not re.search(r"[A-Z|]", word)]
        asked = [Path(sys.executable).with_name(program), *words, "--help"]
        done = subprocess.run(asked, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab host's files, as they are installed."""
    root = tmp_path_factory.mktemp("machine")
    command = [ROOT / "bin" / "install-lab-host", "--root", root, "--no-venv"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return root


def test_every_unit_and_path_that_is_named_is_installed(machine: Path) -> None:
    units = {path.name for path in (machine / "etc/systemd/system").iterdir()}
    spoken = re.findall(
        r"(?:systemctl|journalctl)[^`\n]*?(cis490-lab-[a-z-]+(?:\.[a-z]+)?)(?![a-z*-])", texts()
    )
    assert {name if "." in name else f"{name}.service" for name in spoken} <= units
    assert "cis490-lab-shipper" in spoken and "cis490-lab-autoupdate" in spoken
    paths = set(re.findall(r"/(?:etc|opt|var/lib)/cis490-lab-host(?:/[A-Za-z0-9._-]*[A-Za-z0-9])*", texts()))
    missing = {path for path in paths if not (machine / path[1:]).exists()}
    assert {path for path in missing if not BROUGHT & set(path.split("/"))} == set()
    assert "/opt/cis490-lab-host/docs/FIXYOURSELF.md" in paths - missing

"""What a newcomer reads first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cis490_receiver.commands import COMMANDS, load_command
from tests.commands.running import run


def test_every_summary_is_whole_and_fits_the_screen() -> None:
    shown = run("--help").stdout
    lines = shown[shown.index("Commands:") : shown.index("\n\n  Example:")].splitlines()[1:]
    assert [line.split(maxsplit=1) for line in lines] == [list(item) for item in sorted(COMMANDS.items())]
    assert max(map(len, shown.splitlines())) < 80


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_module_and_help(name: str) -> None:
    assert load_command(name).name == name
    done = run(name, "--help")
    assert done.returncode == 0
    assert name in ("token", "host") or f"cis490-receiver {name} [OPTIONS]" in done.stdout


def test_a_list_of_commands_imports_none() -> None:
    code = (
        "import sys; from cis490_receiver.commands import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "sys.exit(any(name.startswith('cis490_receiver.commands.m') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0

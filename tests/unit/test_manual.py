"""Manual pages as man-db and mandoc read them, and completions in the shells that run them."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cis490_receiver.commands import COMMANDS
from tests.conftest import need
from tests.support.receiver import BIN, clean_environment

PROGRAMS = ("cis490-receiver", "cis490-shipper", "cis490-doctor", "cis490-ship-health")


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installation makes."""
    folder = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, "-m", "cis490_receiver.manual", folder], check=True)
    return folder


def test_every_page_is_found_by_its_name_and_has_no_fault(share: Path) -> None:
    pages = sorted((share / "man" / "man1").iterdir())
    names = {page.name.removesuffix(".1.gz") for page in pages}
    assert names >= {
        *PROGRAMS,
        *(f"cis490-receiver-{name}" for name in COMMANDS),
        "cis490-receiver-token-add",
    }
    found = subprocess.run([need("lexgrog"), *pages], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert [line.split('"')[1].split(" - ")[0] for line in found.stdout.splitlines()] == sorted(
        names, key=pages_order
    )
    for page in pages:
        linted = subprocess.run(
            [need("mandoc"), "-T", "lint", "-W", "warning"],
            input=gzip.decompress(page.read_bytes()),
            capture_output=True,
        )
        assert (linted.returncode, linted.stdout) == (0, b""), page.name


def pages_order(name: str) -> str:
    return f"{name}.1.gz"


def test_a_page_tells_what_the_help_tells(share: Path) -> None:
    page = share / "man" / "man1" / "cis490-receiver-serve.1.gz"
    shown = subprocess.run(
        [need("man"), "-l", page],
        env=os.environ | {"MANWIDTH": "120"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for words in (
        "--data-dir FOLDER",
        "-h, --help",
        "cis490-receiver serve --bind 127.0.0.1:8491",
        "Exit status 2",
    ):
        assert words in shown
    assert shown.index("NAME") < shown.index("SYNOPSIS") < shown.index("OPTIONS") < shown.index("EXAMPLE")


COMPLETE = {
    # What follows is what the shell does when the key is pressed.
    "bash": (
        "source {share}/bash-completion/completions/cis490-receiver\n"
        "COMP_WORDS=(cis490-receiver gate-s) COMP_CWORD=1\n"
        '$(complete -p cis490-receiver | sed "s/.*-F \\([^ ]*\\).*/\\1/") cis490-receiver gate-s cis490-receiver\n'
        'echo "${{COMPREPLY[@]}}"'
    ),
    "fish": "source {share}/fish/vendor_completions.d/cis490-receiver.fish; complete -C 'cis490-receiver gate-s'",
    "zsh": (
        "autoload -Uz compinit; compinit -u -D; source {share}/zsh/site-functions/_cis490-receiver\n"
        '[[ $_comps[cis490-receiver] == _cis490_receiver_completion ]] || exit 1\n'
        # Outside of its line editor zsh completes nothing: hand what would be offered out.
        "_describe() {{ print -l -- ${{(P)3}} }}; words=(cis490-receiver gate-s) CURRENT=2\n"
        "_cis490_receiver_completion"
    ),
}  # fmt: skip


@pytest.mark.parametrize("shell", sorted(COMPLETE))
def test_a_shell_completes_a_command(shell: str, share: Path) -> None:
    environment = clean_environment() | {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(share)}
    done = subprocess.run(
        [need(shell), "-c", COMPLETE[shell].format(share=share)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "gate-show" in done.stdout and "gate-check" not in done.stdout, done.stdout + done.stderr


def test_completing_imports_no_command(share: Path) -> None:
    environment = clean_environment() | {
        "COMP_WORDS": "cis490-receiver ", "COMP_CWORD": "", "_CIS490_RECEIVER_COMPLETE": "fish_complete",
    }  # fmt: skip
    code = (
        "import atexit, sys; from cis490_receiver.commands import main\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "main(prog_name='cis490-receiver')"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "health-check" in done.stdout
    assert "cis490_receiver.commands.health_check" not in done.stdout

"""bin/install-receiver, into a folder that stands for the machine."""

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.receiver import ROOT

TOKEN = "etc/cis490-receiver/token"
CONFIG = "etc/cis490-receiver/receiver.toml"


def install(folder: Path, *options: str, checkout: Path = ROOT) -> str:
    """Run it with ``--root folder``; gives what it says."""
    command = [str(checkout / "bin" / "install-receiver"), "--root", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(folder: Path) -> dict[str, tuple[int, str]]:
    """Every path under `folder` with its mode and content."""
    return {
        str(path.relative_to(folder)): (
            stat.S_IMODE(path.lstat().st_mode),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def test_every_file_that_people_install_gets_its_place(tmp_path: Path) -> None:
    install(tmp_path, "--no-venv")
    for unit in (ROOT / "etc" / "systemd").glob("*.*"):
        assert (tmp_path / "etc/systemd/system" / unit.name).read_bytes() == unit.read_bytes()
    for place in ("sysusers.d", "tmpfiles.d", "cron.d"):
        for path in filter(Path.is_file, (ROOT / "etc" / place).iterdir()):
            assert (tmp_path / "etc" / place / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / CONFIG).read_bytes() == (ROOT / "etc/receiver.toml").read_bytes()
    for name in ("Caddyfile", "gunicorn.conf.py"):
        assert (tmp_path / "opt/cis490-receiver/etc" / name).exists()
    modes = {name: mode for name, (mode, _) in picture(tmp_path).items()}
    assert modes[TOKEN] == modes[CONFIG] == 0o640
    assert modes["var/lib/cis490-receiver"] == modes["run/cis490-receiver"] == 0o750


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    install(tmp_path, "--no-venv")
    before = picture(tmp_path)
    said = install(tmp_path, "--no-venv")
    assert said.startswith("nothing changed")
    assert picture(tmp_path) == before


def test_a_dry_run_changes_nothing_and_says_what_the_real_run_does(tmp_path: Path) -> None:
    target = tmp_path / "machine"
    would = install(target, "--no-venv", "--dry-run")
    assert not target.exists()
    did = install(target, "--no-venv")
    planned = [line.removeprefix("would ") for line in would.splitlines()]
    assert planned == [line.removeprefix("did   ") for line in did.splitlines() if line.startswith("did ")]
    before = picture(target)
    would = install(target, "--uninstall", "--dry-run")
    assert "would remove" in would
    assert picture(target) == before


def test_what_was_edited_is_kept(tmp_path: Path) -> None:
    install(tmp_path, "--no-venv")
    (tmp_path / TOKEN).write_text("our-own-token\n")
    (tmp_path / CONFIG).write_text('data_dir = "/srv/episodes"\n')
    install(tmp_path, "--no-venv")
    assert (tmp_path / TOKEN).read_text() == "our-own-token\n"
    assert (tmp_path / CONFIG).read_text() == 'data_dir = "/srv/episodes"\n'
    new = tmp_path / f"{CONFIG}.new"
    assert new.read_bytes() == (ROOT / "etc/receiver.toml").read_bytes()
    assert install(tmp_path, "--no-venv").startswith("nothing changed")


def test_a_file_of_ours_that_was_damaged_is_mended(tmp_path: Path) -> None:
    install(tmp_path, "--no-venv")
    before = picture(tmp_path)
    unit = tmp_path / "etc/systemd/system/cis490-receiver.service"
    unit.write_text("")
    assert "cis490-receiver.service" in install(tmp_path, "--no-venv")
    assert picture(tmp_path) == before


def test_each_installation_has_a_token_of_its_own(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "two"):
        install(tmp_path / name, "--no-venv")
        tokens.append((tmp_path / name / TOKEN).read_text().strip())
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 and int(token, 16) for token in tokens)


def test_uninstalling_leaves_data_and_configuration(tmp_path: Path) -> None:
    install(tmp_path, "--no-venv")
    index = tmp_path / "var/lib/cis490-receiver/index.jsonl"
    index.write_text("{}\n")
    kept = {TOKEN, CONFIG, "var/lib/cis490-receiver/index.jsonl"}
    install(tmp_path, "--uninstall")
    assert {name for name, (_, content) in picture(tmp_path).items() if content} == kept
    assert install(tmp_path, "--uninstall").startswith("nothing changed")


def test_an_unknown_argument_is_wrong_usage(tmp_path: Path) -> None:
    command = [str(ROOT / "bin" / "install-receiver"), "--root", str(tmp_path), "--no-such-option"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "--help" in done.stderr


@pytest.mark.slow
def test_an_upgrade_switches_to_a_new_environment_and_keeps_the_last(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("bin", "etc", "docs", "cis490_receiver"):
        shutil.copytree(ROOT / name, checkout / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    machine = tmp_path / "machine"
    home = machine / "opt/cis490-receiver"
    package = checkout / "cis490_receiver" / "__init__.py"
    links = []
    for version in ("7.0.1", "7.0.2"):
        text = package.read_text()
        [line] = [line for line in text.splitlines() if line.startswith("__version__")]
        package.write_text(text.replace(line, f'__version__ = "{version}"'))
        before = picture(checkout)
        install(machine, checkout=checkout)
        links.append((home / "venv").readlink())
        program = home / "venv" / "bin" / "cis490-receiver"
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        assert version in said
        assert picture(checkout) == before, "the build left something in the checkout"
        assert install(machine, checkout=checkout).startswith("nothing changed")
        share = machine / "usr/local/share"
        linked = {
            str(path.relative_to(share)): path.readlink() for path in share.rglob("*") if path.is_symlink()
        }
        assert {
            "man/man1/cis490-receiver-serve.1.gz",
            "bash-completion/completions/cis490-receiver",
        } <= linked.keys()
        assert all((machine / str(target).lstrip("/")).is_file() for target in linked.values())
        assert not any("shipper" in name for name in linked)
    assert len(set(links)) == 2
    assert {path.name for path in (home / "releases").iterdir()} == {link.name for link in links}
    install(machine, "--uninstall", checkout=checkout)
    assert not any(path.is_symlink() for path in share.rglob("*"))

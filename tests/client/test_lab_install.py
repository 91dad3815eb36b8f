"""bin/install-lab-host, the units and lab-host.toml."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from cis490_receiver.client.config import TABLE, LabHost, load
from cis490_receiver.client.doctor.machine import UNITS
from tests.conftest import need
from tests.ops.test_install import picture
from tests.ops.test_real_install import OVERLAYS, SYSTEM_PATH
from tests.support.receiver import ROOT

FOLDER = ROOT / "etc" / "systemd" / "lab-host"
SERVICES = sorted(FOLDER.glob("*.service"))
TIMERS = sorted(FOLDER.glob("*.timer"))
INSTALLED_BIN = "/opt/cis490-lab-host/venv/bin/"
#: In systemd's tenths. All but the update go onto the network as a user without any right.
EXPOSURE = {"cis490-lab-autoupdate": 27, "cis490-lab-doctor-check": 16, "cis490-lab-shipper": 15}
EXPOSURE_ELSE = 12


def install(folder: Path, *options: str) -> str:
    command = [str(ROOT / "bin" / "install-lab-host"), "--root", str(folder), "--no-venv", *options]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_run_sets_all_of_it_up_and_a_second_changes_nothing(tmp_path: Path) -> None:
    would = install(tmp_path / "machine", "--dry-run")
    assert not (tmp_path / "machine").exists()
    said = install(tmp_path / "machine")
    assert would.replace("would ", "did   ") == said.split("\nNext:")[0]
    for unit in FOLDER.iterdir():
        assert (tmp_path / "machine/etc/systemd/system" / unit.name).read_bytes() == unit.read_bytes()
    modes = {name: mode for name, (mode, _) in picture(tmp_path / "machine").items()}
    assert modes["etc/cis490-lab-host/token"] == modes["etc/cis490-lab-host/lab-host.toml"] == 0o640
    assert modes["var/lib/cis490-lab-host"] == modes["etc/cis490-lab-host"] == 0o750
    assert modes["usr/local/bin/cis490-doctor"] == 0o755
    before = picture(tmp_path / "machine")
    assert install(tmp_path / "machine").startswith("nothing changed")
    assert picture(tmp_path / "machine") == before


def test_what_people_put_there_survives_upgrade_and_uninstalling(tmp_path: Path) -> None:
    install(tmp_path)
    kept = {
        "etc/cis490-lab-host/token": "mine\n",
        "etc/cis490-lab-host/lab-host.toml": 'receiver_url = "https://here"\n',
        "etc/cis490-lab-host/checks.d/fans": "#!/bin/sh\n",
        "var/lib/cis490-lab-host/tls/client.pem": "mine\n",
        "var/lib/cis490-lab-host/spool/one.tar.zst": "an episode",
    }
    for name, content in kept.items():
        (tmp_path / name).write_text(content)
    install(tmp_path)
    assert (tmp_path / "etc/cis490-lab-host/lab-host.toml.new").exists()
    install(tmp_path, "--uninstall")
    assert {name: (tmp_path / name).read_text() for name in kept} == kept
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {Path(name).name for name in kept} | {"lab-host.toml.new"}
    assert install(tmp_path, "--uninstall").startswith("nothing changed")


IN_NAMESPACE = """
cd "$2"
bin/install-lab-host --no-venv >&2
bin/install-lab-host --no-venv
stat -c '%a %U:%G %n' /etc/cis490-lab-host/* /var/lib/cis490-lab-host/*
"""


def test_on_the_machine_itself_each_file_belongs_to_whom_it_should(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    command = ["unshare", "--mount", "bash", "-c"]
    environment = {"PATH": SYSTEM_PATH}
    probe = subprocess.run([*command, OVERLAYS, "x", str(tmp_path)], env=environment, capture_output=True)
    if probe.returncode != 0:
        pytest.skip("needs leave to mount overlays")
    done = subprocess.run(
        [*command, OVERLAYS + IN_NAMESPACE, "x", str(tmp_path), str(ROOT)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "nothing changed: this version is installed",
        "755 root:root /etc/cis490-lab-host/checks.d",
        "640 root:cis490-lab /etc/cis490-lab-host/lab-host.toml",
        "640 root:cis490-lab /etc/cis490-lab-host/token",
        "2770 cis490-lab:cis490-lab /var/lib/cis490-lab-host/spool",
        "777 root:root /var/lib/cis490-lab-host/tls",
        "750 cis490-lab:cis490-lab /var/lib/cis490-lab-host/tls-first",
    ]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_exposes_little(unit: Path) -> None:
    threshold = EXPOSURE.get(unit.stem, EXPOSURE_ELSE)
    command = [need("systemd-analyze"), "security", "--offline=true", f"--threshold={threshold}", str(unit)]
    judged = subprocess.run(command, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout[-300:]


def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    for name in ("cis490-shipper", "cis490-ship-health"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    units = tmp_path / "units"
    units.mkdir()
    for unit in FOLDER.iterdir():
        (units / unit.name).write_text(unit.read_text().replace(INSTALLED_BIN, f"{tmp_path}/"))
    command = [need("systemd-analyze"), "verify", "--man=no", *map(str, units.iterdir())]
    verified = subprocess.run(command, capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_each_timer_has_its_service_and_the_doctor_looks_at_each() -> None:
    assert {path.stem for path in TIMERS} | {"cis490-lab-shipper"} == {path.stem for path in SERVICES}
    assert set(UNITS) == {path.name for path in TIMERS} | {"cis490-lab-shipper.service"}
    doctor = (FOLDER / "cis490-lab-doctor-check.timer").read_text()
    for line in ("OnBootSec=10min", "OnUnitActiveSec=1d", "RandomizedDelaySec=30min"):
        assert line in doctor
    started = re.findall(r"^ExecStart=\S+/(\S+)", "".join(map(Path.read_text, SERVICES)), re.MULTILINE)
    assert set(started) == {"cis490-shipper", "cis490-ship-health"}


def test_the_configuration_that_is_installed_names_every_key_and_its_default() -> None:
    text = (ROOT / "etc" / "lab-host.toml").read_text()
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    keys = tomllib.loads(uncommented)
    assert set(keys) == set(TABLE.keys)
    load({"CIS490_LAB_CONFIG": str(ROOT / "etc" / "lab-host.toml")})
    defaults = LabHost(receiver_url="x", spool_dir=Path())
    for key in re.findall(r"^# (\w+) = ", text, re.MULTILINE):
        if key not in ("host_id", "renew_command"):
            assert TABLE.keys[key].kind.parse(keys[key]) == getattr(defaults, key), key


def test_the_page_explains_every_log_event_and_its_commands_are_shell() -> None:
    page = (ROOT / "docs" / "lab-hosts.md").read_text()
    explained = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    client = ROOT / "cis490_receiver" / "client"
    source = "".join(path.read_text() for path in client.rglob("*.py"))
    assert set(re.findall(r"\bevent\(\s*\"([a-z-]+)\"", source)) == explained
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    assert stat.S_IMODE((ROOT / "bin" / "install-lab-host").stat().st_mode) & 0o111

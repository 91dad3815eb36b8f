"""`cis490-doctor` and `cis490-ship-health` on hosts with one thing wrong each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.client.doctor.report import run_checks
from cis490_receiver.models import failed_checks
from tests.client.hosts import Lab
from tests.client.test_clone import CASES
from tests.conftest import need
from tests.gate.repos import World
from tests.gate.snapshots import make_snapshot, write
from tests.support.archives import make_episode
from tests.support.caddy import Authority
from tests.support.receiver import AUTH, Receiver


def doctor(lab: Lab) -> dict[str, dict[str, str]]:
    """The checks by name. The page for people says the same."""
    done = lab.run("cis490-doctor", "--json")
    report = json.loads(done.stdout)
    assert (report["schema"], report["host_id"]) == (1, lab.keys["host_id"])
    assert done.returncode == (1 if report["status"] == "fail" else 0)
    for check in report["checks"]:
        assert set(check) == {"name", "status", "seen", "remedy"}
        assert check["status"] == "ok" or check["remedy"], f"{check} leaves a person alone"
    return {check["name"]: check for check in report["checks"]}


def test_a_host_that_is_well(receiver: Receiver, tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    lab = Lab.of(tmp_path / "lab", receiver, orchestrator_dir=world.clone("clone").path)
    checks = doctor(lab)
    assert {check["status"] for name, check in checks.items() if not name.startswith("unit")} == {"ok"}
    wanted = {"receiver", "clock", "disk", "spool", "refused", "orchestrator", "gate", "certificate"}
    assert wanted | {"token", "wireguard", "kvm", "versions"} <= set(checks)
    page = lab.run("cis490-doctor").stdout
    assert all(name in page for name in checks)


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_the_clone_is_judged_by_the_branch_of_fixyourself(tmp_path: Path, make: Callable[..., None]) -> None:
    world = World(tmp_path / "world")
    clone = world.clone("clone")
    make(world, clone)
    lab = Lab(tmp_path / "lab", "http://127.0.0.1:1", orchestrator_dir=clone.path)
    check = doctor(lab)["orchestrator"]
    letters = CASES[make]
    wanted = "ok" if not letters else "warn" if set(letters) <= {"A", "D"} else "fail"
    assert check["status"] == wanted
    assert not letters or f"FIXYOURSELF.md, branch {letters[0]}" in check["remedy"]


def test_what_is_wrong_is_said_and_what_to_do(receiver: Receiver, tmp_path: Path) -> None:
    openssl = need("openssl")
    authority = Authority(openssl, tmp_path / "ca", "lab")
    over = authority.issue("lab-1", "clientAuth", days=-1)
    over.key.chmod(0o600)
    lab = Lab.of(
        tmp_path / "lab",
        receiver,
        wireguard_interface="wg-none",
        disk_reserve_bytes=1 << 48,
        client_cert=over.cert,
        client_key=over.key,
    )
    lab.token.chmod(0o644)
    old = lab.spool / "old.tar.zst"
    old.write_bytes(make_episode(1).data)
    os.utime(old, (time.time() - 90_000,) * 2)
    (lab.spool / "refused").mkdir()
    (lab.spool / "refused" / "x.tar.zst").write_bytes(b"x")
    (lab.spool / "refused" / "x.tar.zst.answer.json").write_text('{"answer": {"code": "conflict"}}')
    checks = doctor(lab)
    failing = {name for name, check in checks.items() if check["status"] == "fail"}
    assert failing >= {"wireguard", "disk", "certificate", "token", "spool", "orchestrator"}
    assert (checks["refused"]["status"], "1 conflict" in checks["refused"]["seen"]) == ("warn", True)
    assert "is over" in checks["certificate"]["seen"] and "chmod 640" in checks["token"]["remedy"]
    lab.write(spool_dir=tmp_path / "absent")
    assert doctor(lab)["spool"]["status"] == "fail"


def test_a_commit_that_the_gate_refuses(start_receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    receiver = start_receiver(gate_enabled=True)
    write(receiver.data_dir, make_snapshot(1))
    world = World(tmp_path / "world")
    lab = Lab.of(tmp_path / "lab", receiver, orchestrator_dir=world.clone("clone").path)
    check = doctor(lab)["gate"]
    assert (check["status"], "FIXYOURSELF" in check["remedy"]) == ("fail", True)


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ('echo \'{"name": "fans", "status": "warn", "seen": "loud", "remedy": "dust"}\'', ("fans", "warn")),
        ('echo \'[{"status": "ok", "seen": "fine"}]\'', ("mine", "ok")),
        ("echo hello", ("mine", "fail")),
        ("exit 3", ("mine", "fail")),
        ('echo \'{"status": "great"}\'', ("mine", "fail")),
    ],
)
def test_a_local_check_is_heard_whatever_it_says(
    tmp_path: Path, script: str, wanted: tuple[str, str]
) -> None:
    lab = Lab(tmp_path, "http://127.0.0.1:1")
    folder = tmp_path / "checks.d"
    folder.mkdir()
    (folder / "mine").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "mine").chmod(0o755)
    (folder / "not-executable").write_text("#!/bin/sh\n")
    checks = {name: check for name, check in doctor(lab).items() if name.startswith("local:")}
    assert {name: check["status"] for name, check in checks.items()} == {f"local:{wanted[0]}": wanted[1]}


def test_a_local_check_that_anybody_could_change_is_not_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "http://127.0.0.1:1")
    folder = tmp_path / "checks.d"
    folder.mkdir()
    (folder / "mine").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (folder / "mine").chmod(0o777)
    assert doctor(lab)["local:mine"]["status"] == "fail"
    assert not (tmp_path / "ran").exists()


def test_a_check_that_breaks_down_stops_no_other() -> None:
    def broken() -> Any:
        raise RuntimeError("no such luck")

    report = run_checks("h", [("one", broken), ("two", list)])
    assert [(check["name"], check["status"]) for check in report["checks"]] == [("one", "fail")]
    assert report["status"] == "fail"
    assert failed_checks(report) == ["one"]


def test_the_report_of_a_host_that_is_half_broken_reaches_the_receiver(
    start_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = start_receiver(gate_enabled=True)
    lab = Lab.of(tmp_path / "lab", receiver, spool_dir=tmp_path / "absent", wireguard_interface="wg-none")
    done = lab.run("cis490-ship-health")
    assert (done.returncode, done.stdout.startswith("sent: fail (")) == (0, True), done.stderr
    [stored] = receiver.request("GET", "/v1/host-health", headers=AUTH).json["hosts"]
    assert stored["host_id"] == "lab-1"
    assert {"spool", "wireguard", "orchestrator"} <= set(failed_checks(stored["doctor"]))


def test_a_report_that_does_not_arrive_is_shown(shared_receiver: Receiver, tmp_path: Path) -> None:
    lab = Lab.of(tmp_path / "lab", shared_receiver)
    lab.token.write_text("another\n")
    done = lab.run("cis490-ship-health")
    assert done.returncode == 1
    assert "not sent" in done.stderr and "token_file" in done.stderr
    assert "FAIL receiver" in done.stdout


@pytest.mark.parametrize("program", ["cis490-shipper", "cis490-doctor", "cis490-ship-health"])
def test_a_program_starts_without_the_server_and_quickly(tmp_path: Path, program: str) -> None:
    lab = Lab(tmp_path, "http://127.0.0.1:1")
    lab.run(program, "--help")
    module = {"cis490-shipper": "cli"}.get(program, "doctor.cli")
    code = (
        f"import sys, cis490_receiver.client.{module}\n"
        "print({'flask', 'werkzeug', 'gunicorn', 'zstandard', 'sqlite3', 'ssl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

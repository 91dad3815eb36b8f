"""Checks of the machine itself: disk, KVM, network interface, units, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

from cis490_receiver.client.config import LabHost
from cis490_receiver.client.doctor.report import FAIL, OK, WARN, Check

UNITS: Final = (
    "cis490-lab-shipper.service",
    "cis490-lab-doctor-check.timer",
    "cis490-lab-autoupdate.timer",
    "cis490-lab-cert-fetch.timer",
)
_UP: Final = 1  # IFF_UP, netdevice(7)
_SECONDS: Final = 15


def disk(host: LabHost) -> Check:
    """Room for recordings."""
    folder = next(path for path in (host.spool_dir, *host.spool_dir.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    status = os.statvfs(folder)
    seen = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free on {folder}"
    remedy = (
        "ship or delete what is not needed; `du -xh --max-depth=2 / | sort -h | tail` shows what is large"
    )
    if status.f_files and status.f_favail * 100 < status.f_files:
        return Check("disk", FAIL, f"{seen}, but hardly any inodes", "delete small files that are not needed")
    if usage.free < host.disk_reserve_bytes // 2:
        return Check("disk", FAIL, seen, remedy)
    low = usage.free < host.disk_reserve_bytes or usage.free * 20 < usage.total
    return Check("disk", WARN if low else OK, seen, remedy if low else "")


def kvm(host: LabHost) -> Check:
    """What the recordings run in."""
    programs = [name for name in ("qemu-system-x86_64", "qemu-system-aarch64") if shutil.which(name)]
    device = Path("/dev/kvm")
    seen = f"/dev/kvm {'is there' if device.exists() else 'is missing'}, {', '.join(programs) or 'no QEMU'}"
    if not host.kvm_required:
        return Check("kvm", OK, f"{seen}; not required here")
    if not programs:
        return Check("kvm", FAIL, seen, "apt-get install qemu-system-x86")
    if not device.exists():
        return Check(
            "kvm", FAIL, seen, "turn virtualisation on in the firmware, then modprobe kvm_intel or kvm_amd"
        )
    return Check("kvm", OK, seen)


def wireguard(host: LabHost) -> Check:
    """The interface to the receiver."""
    name = host.wireguard_interface
    if name == "none":
        return Check("wireguard", OK, "not used here")
    folder = Path("/sys/class/net") / name
    if "/" in name or not folder.exists():
        return Check("wireguard", FAIL, f"there is no interface {name}", f"systemctl start wg-quick@{name}")
    flags = int((folder / "flags").read_text(), 16)
    if not flags & _UP:
        return Check("wireguard", FAIL, f"{name} is down", f"ip link set {name} up, or wg-quick up {name}")
    return Check("wireguard", OK, f"{name} is up")


def units(_host: LabHost) -> list[Check]:
    """The services and timers of this package: enabled, and how they ran last."""
    if not Path("/run/systemd/system").is_dir():
        return [Check("units", WARN, "systemd does not run here", "see that shipper and doctor are started")]
    return [_unit(name) for name in UNITS]


def _unit(name: str) -> Check:
    told = _properties(name, "LoadState", "UnitFileState", "ActiveState", "LastTriggerUSec")
    label = f"unit:{name}"
    if told.get("LoadState") != "loaded":
        return Check(label, FAIL, "not installed", "run bin/install-lab-host")
    state = f"{told.get('UnitFileState')}, {told.get('ActiveState')}"
    if told.get("UnitFileState") != "enabled" or told.get("ActiveState") not in ("active", "activating"):
        return Check(label, FAIL, state, f"systemctl enable --now {name}")
    if not name.endswith(".timer"):
        return Check(label, OK, state)
    last = told.get("LastTriggerUSec") or "never"
    service = name.replace(".timer", ".service")
    result = _properties(service, "Result").get("Result", "success")
    if result != "success":
        return Check(
            label, WARN, f"{state}; the last run ({last}) failed: {result}", f"journalctl -u {service}"
        )
    return Check(label, OK, f"{state}; last run {last}")


def _properties(unit: str, *names: str) -> dict[str, str]:
    command = ["systemctl", "show", f"--property={','.join(names)}", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def versions(_host: LabHost) -> Check:
    """What runs here, for whoever reads the report."""
    parts = [
        f"cis490-receiver {importlib.metadata.version('cis490-receiver')}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        *(_first_line(program) for program in ("git", "qemu-system-x86_64") if shutil.which(program)),
    ]
    return Check("versions", OK, ", ".join(parts))


def _first_line(program: str) -> str:
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
    )
    return done.stdout.partition("\n")[0].strip()

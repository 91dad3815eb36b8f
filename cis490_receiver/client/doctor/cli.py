"""``cis490-doctor`` and ``cis490-ship-health``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

from cis490_receiver import protocol
from cis490_receiver.client.config import LabHost, load
from cis490_receiver.client.doctor.report import Check, Look, run_checks
from cis490_receiver.commandline.failures import EXIT_FOUND
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commandline.program import Reporting
from cis490_receiver.errors import ReceiverError
from cis490_receiver.page import say

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}
_version = click.version_option(package_name="cis490-receiver", message="%(prog)s %(version)s")


def examine(host: LabHost) -> dict[str, Any]:
    """Every check of this host, as the report that the receiver stores."""
    from cis490_receiver.client.doctor import local, machine, shipping

    checks: dict[str, Callable[[LabHost], Check | Iterable[Check]]] = {
        "receiver": shipping.way,
        "disk": machine.disk,
        "spool": shipping.spool,
        "orchestrator": shipping.orchestrator,
        "certificate": shipping.client_certificate,
        "token": shipping.token,
        "wireguard": machine.wireguard,
        "units": machine.units,
        "kvm": machine.kvm,
        "versions": machine.versions,
    }
    looks: list[Look] = [(name, _bind(check, host)) for name, check in checks.items()]
    return run_checks(host.host_id, [*looks, *local.looks(host.checks_dir)])


def _bind(
    check: Callable[[LabHost], Check | Iterable[Check]], host: LabHost
) -> Callable[[], Check | Iterable[Check]]:
    return lambda: check(host)


@click.command(cls=Reporting, context_settings=_SETTINGS, epilog=example("cis490-doctor"))
@_version
@json_option
def doctor(as_json: bool) -> None:
    """Check this lab host: what is seen, and what to do about it.

    Exit status: 0 nothing fails, 1 something does, 2 wrong usage or configuration.
    """
    report = examine(load())
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report)
    sys.exit(EXIT_FOUND if report["status"] == "fail" else 0)


def _print(report: dict[str, Any]) -> None:
    for check in report["checks"]:
        mark = click.style(f"{check['status'].upper():<4}", fg=_COLOURS[check["status"]], bold=True)
        say(check["seen"], label=f"{mark} {check['name']:<14} ")
        if check["remedy"]:
            say(check["remedy"], label=f"{'':<19} -> ")
    click.echo(f"\n{report['host_id']}: {report['status']}, {report['checked_at_wall']}")


@click.command(cls=Reporting, context_settings=_SETTINGS, epilog=example("cis490-ship-health"))
@_version
def ship_health() -> None:
    """Check this lab host and send the report to the receiver, also when nothing else works.

    Exit status: 0 the receiver has it, whatever it says; 1 it could not be sent; 2 wrong usage or configuration.
    """
    from cis490_receiver.client.transport import Transport, receiver_failed

    host = load()
    report = examine(host)
    try:
        reply = Transport(host).put_json(f"{protocol.API_PREFIX}/host-health/{host.host_id}", report)
        if reply.status != 200 or reply.says("status") != "stored":
            raise receiver_failed(reply)
    except ReceiverError as exc:
        say(exc.message, label="cis490-ship-health: not sent: ", err=True)
        if remedy := getattr(exc, "remedy", ""):
            say(remedy, label="  -> ", err=True)
        _print(report)
        sys.exit(EXIT_FOUND)
    failed = [check["name"] for check in report["checks"] if check["status"] == "fail"]
    click.echo(f"sent: {report['status']}" + (f" ({', '.join(failed)})" if failed else ""))

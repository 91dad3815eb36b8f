"""``cis490-receiver gate-check COMMIT``: what a host on that commit would be told."""

from __future__ import annotations

import json

import click

from cis490_receiver import page
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.shared import use_place
from cis490_receiver.config import load
from cis490_receiver.errors import ReceiverError
from cis490_receiver.policy.gate import VersionGate


@click.command("gate-check", epilog=example('cis490-receiver gate-check "$(git rev-parse HEAD)"'))
@click.argument("commit")
@json_option
def command(commit: str, as_json: bool) -> None:
    """Say what a host whose episodes COMMIT recorded would be told. Exit status 1: it would be refused."""
    settings = load()
    gate = VersionGate(use_place(settings).gate_list, settings.gate_extra_commits)
    try:
        gate.check(commit.strip().lower())
    except ReceiverError as exc:
        answer = {"would_accept": False, "error": exc.message, "code": exc.code, **exc.details}
    else:
        answer = {"would_accept": True}
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif answer["would_accept"]:
        click.echo("accepted")
    else:
        click.echo(f"refused: {answer['error']}")
        if "remediation" in answer:
            page.say(str(answer["remediation"]), label="  ")
    if not settings.gate_enabled:
        click.echo("(the gate is off: gate_enabled = false)", err=True)
    raise SystemExit(0 if answer["would_accept"] else 1)

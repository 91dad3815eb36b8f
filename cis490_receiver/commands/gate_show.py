"""``cis490-receiver gate-show``: the allow-list in force."""

from __future__ import annotations

import json

import click

from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.gate_refresh import one_line
from cis490_receiver.commands.shared import use_place
from cis490_receiver.config import load
from cis490_receiver.policy.gate import age_text


@click.command("gate-show", epilog=example("cis490-receiver gate-show"))
@json_option
def command(as_json: bool) -> None:
    """Print the accepted commits and how old the list is. Exit status 1: there is no list, or it is older
    than `gate_max_age_hours`.
    """
    settings = load()
    backends = use_place(settings)
    snapshot = backends.gate_list.read()
    if snapshot is None:
        first = "" if settings.gate_repo else "name the clone of the orchestrator in gate_repo, then "
        raise Failure(
            f"there is no gate.json that can be read; {first}run: cis490-receiver gate-refresh",
            "no-gate-list",
        )
    age = snapshot.age_seconds(backends.clock.now_ns())
    too_old = age > settings.gate_max_age_hours * 3600
    if as_json:
        data = json.loads(snapshot.to_json())
        del data["older"]
        extra = {"extra_commits": list(settings.gate_extra_commits), "age_seconds": round(age)}
        click.echo(
            json.dumps(data | extra | {"too_old": too_old, "enabled": settings.gate_enabled}, indent=2)
        )
    else:
        state = "on" if settings.gate_enabled else "off (gate_enabled = false)"
        click.echo(f"gate {state}; {snapshot.ref} of {snapshot.repo}, read {age_text(age)} ago")
        for item in snapshot.commits:
            click.echo(f"  {one_line(item)}")
        for commit in settings.gate_extra_commits:
            click.echo(f"  {commit[:12]} (gate_extra_commits)")
        if too_old:
            click.echo(f"older than {settings.gate_max_age_hours} h; does the timer run?", err=True)
    raise SystemExit(1 if too_old else 0)

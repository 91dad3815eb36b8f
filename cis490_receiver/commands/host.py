"""``cis490-receiver host``: the hosts that there are, and those that are gone for good."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from cis490_receiver import protocol
from cis490_receiver.backends import Backends
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.fleet import look
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import Settings, load
from cis490_receiver.models import wall_time
from cis490_receiver.monitor.facts import Facts, HostFacts
from cis490_receiver.monitor.states import state_of
from cis490_receiver.policy.gate import age_text
from cis490_receiver.state.base.notes import Mute, Retirement


@click.group("host", epilog=example("cis490-receiver host list"))
def command() -> None:
    """List the hosts; retire those that are gone for good."""


@command.command("list", epilog=example("cis490-receiver host list"))
@json_option
def list_(as_json: bool) -> None:
    """List every host ever seen: its state, its last episode, since when and why it is retired or muted."""
    settings, backends, facts = _look()
    muted = backends.mutes.active(facts.now_ns)
    rows = [_row(host, facts.now_ns, settings, muted) for host in facts.hosts]
    if as_json:
        click.echo(json.dumps({"at_wall": wall_time(facts.now_ns), "hosts": rows}, indent=2))
    elif not rows:
        click.echo("no host was seen yet")
    else:
        click.echo(_table(rows))


@command.command("retire", epilog=example('cis490-receiver host retire lab-07 --why "sold"'))
@click.argument("host")
@click.option("--why", required=True, help="Why, for whoever wonders.")
@json_option
def retire(host: str, why: str, as_json: bool) -> None:
    """Raise nothing about HOST any more: it is gone for good. Its next episode undoes this.

    Exit status 1: nobody has ever seen such a host.
    """
    if not why.strip():
        raise click.UsageError("--why is empty")
    _, backends, facts = _look()
    known = _known(host, facts)
    # The time is read behind what was stored: an episode that comes from now on undoes it.
    at_ns = backends.clock.now_ns()
    last_ns = known.last_stored_at_ns
    backends.retirements.set(Retirement(host, at_ns, last_ns, why))
    if as_json:
        answer = {"host_id": host, "retired_at_wall": wall_time(at_ns), "retired_why": why}
        click.echo(json.dumps(answer | {"last_episode_wall": _wall(last_ns)}, indent=2))
        return
    last = "it never shipped" if last_ns is None else f"its last episode came {_ago(last_ns, at_ns)}"
    click.echo(f"{host} is retired; {last}, its next one undoes this")


@command.command("unretire", epilog=example("cis490-receiver host unretire lab-07"))
@click.argument("host")
@json_option
def unretire(host: str, as_json: bool) -> None:
    """Watch HOST again.

    Exit status 1: nobody has ever seen such a host.
    """
    _, backends, facts = _look()
    was = _known(host, facts).retired is not None
    backends.retirements.end(host)
    if as_json:
        click.echo(json.dumps({"host_id": host, "was_retired": was}, indent=2))
    else:
        click.echo(f"{host} is watched again" if was else f"{host} was not retired")


def _look() -> tuple[Settings, Backends, Facts]:
    settings = load()
    backends = use_index(settings)
    return settings, backends, look(settings, backends, backends.clock.now_ns())


def _known(host: str, facts: Facts) -> HostFacts:
    """The host of that name; else the command ends and names those that are like it."""
    if not protocol.is_valid_id(host):
        raise click.UsageError(f"{host!r} is no host id")
    by_name = {known.host_id: known for known in facts.hosts}
    return by_name[host] if host in by_name else _unknown(host, list(by_name))


def _unknown(host: str, names: list[str]) -> NoReturn:
    near = difflib.get_close_matches(host, names, n=5, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "cis490-receiver host list shows all"
    raise Failure(f"there is no host {host}; {hint}", "unknown-host", near=near)


def _row(host: HostFacts, now_ns: int, settings: Settings, muted: Mapping[str, Mute]) -> dict[str, Any]:
    mute, retired = muted.get(host.host_id), host.retired
    return {
        "host_id": host.host_id,
        "state": state_of(host, now_ns, settings, muted),
        "first_episode_wall": _wall(host.first_stored_at_ns),
        "last_episode_wall": _wall(host.last_stored_at_ns),
        "retired_at_wall": _wall(retired.at_ns) if retired else None,
        "retired_why": retired.why if retired else None,
        "muted_until_wall": _wall(mute.until_ns) if mute else None,
        "muted_why": mute.why if mute else None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [("host", "state", "last episode", "")]
    for row in rows:
        note = f"muted until {row['muted_until_wall']}: {row['muted_why']}" if row["muted_until_wall"] else ""
        if row["retired_at_wall"]:
            note = f"retired since {row['retired_at_wall']}: {row['retired_why']}"
        lines.append((row["host_id"], row["state"], row["last_episode_wall"] or "never", note))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, line[:3], widths), line[3]]).rstrip() for line in lines)


def _wall(ns: int | None) -> str | None:
    return None if ns is None else wall_time(ns)


def _ago(ns: int, now_ns: int) -> str:
    return f"{age_text((now_ns - ns) / 1e9)} ago" if ns <= now_ns else f"at {wall_time(ns)}"

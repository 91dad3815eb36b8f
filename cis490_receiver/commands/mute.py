"""``cis490-receiver mute``: say that a host is known to be away."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from typing import Final

import click

from cis490_receiver import protocol, times
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.shared import use_place
from cis490_receiver.config import load
from cis490_receiver.models import nanoseconds, wall_time
from cis490_receiver.state.base.notes import Mute, Mutes

_LONGEST: Final = dt.timedelta(days=366)


@click.command("mute", epilog=example('cis490-receiver mute lab-07 --for 3d --why "moved to the new rack"'))
@click.argument("host", required=False)
@click.option(
    "--for", "--until", "until", metavar="WHEN", help="How long, or until when: 90m, 7d, 2027-01-31."
)
@click.option("--why", help="Why, for whoever wonders.")
@click.option("--end", is_flag=True, help="Unmute the host.")
@json_option
def command(host: str | None, until: str | None, why: str | None, end: bool, as_json: bool) -> None:
    """Raise nothing about HOST for a while; without HOST, list who is muted."""
    backends = use_place(load())
    mutes, now_ns = backends.mutes, backends.clock.now_ns()
    if host is None:
        if until or why or end:
            raise click.UsageError("name the HOST")
        _list(mutes, now_ns, as_json)
        return
    if not protocol.is_valid_id(host):
        raise click.UsageError(f"{host!r} is not a host id")
    if end:
        was_muted = mutes.end(host, now_ns)
        _tell(host, None, f"{host} is unmuted" if was_muted else f"{host} was not muted", as_json)
        return
    if not until or not why:
        raise click.UsageError("give --for and --why, or --end")
    mute = Mute(host, _parse_end(until, now_ns), why)
    mutes.set(mute, now_ns)
    _tell(host, mute, f"{host} is muted until {wall_time(mute.until_ns)}", as_json)


def _parse_end(text: str, now_ns: int) -> int:
    now = dt.datetime.fromtimestamp(now_ns // 10**9, dt.UTC)
    try:
        end = times.parse_future(text, now)
    except ValueError as exc:
        raise click.UsageError(f"--for: {exc}") from None
    if end <= now:
        raise click.UsageError(f"--for: {text} is over already")
    if end - now > _LONGEST:
        raise click.UsageError("--for: a host can be muted for a year at most")
    return nanoseconds(end)


def _tell(host: str, mute: Mute | None, sentence: str, as_json: bool) -> None:
    until = wall_time(mute.until_ns) if mute else None
    click.echo(
        json.dumps({"host_id": host, "muted": mute is not None, "until_wall": until}) if as_json else sentence
    )


def _list(mutes: Mutes, now_ns: int, as_json: bool) -> None:
    active = sorted(mutes.active(now_ns).values(), key=lambda mute: mute.host_id)
    if as_json:
        click.echo(
            json.dumps(
                {"mutes": [asdict(mute) | {"until_wall": wall_time(mute.until_ns)} for mute in active]}
            )
        )
        return
    for mute in active:
        click.echo(f"{mute.host_id}  until {wall_time(mute.until_ns)}  {mute.why}")
    if not active:
        click.echo("nobody is muted")

"""``cis490-receiver mute``: say that a host is known to be away."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from cis490_receiver import protocol
from cis490_receiver.clock import SystemClock
from cis490_receiver.commands.shared import data_folder, json_option
from cis490_receiver.config import load
from cis490_receiver.models import wall_time
from cis490_receiver.monitor.mutes import Mute, MuteFile, parse_duration


@click.command("mute")
@click.argument("host", required=False)
@click.option("--for", "duration", help="How long: 90m, 36h, 3d, 2w.")
@click.option("--why", help="Why, for whoever wonders.")
@click.option("--end", is_flag=True, help="Unmute the host.")
@json_option
def command(host: str | None, duration: str | None, why: str | None, end: bool, as_json: bool) -> None:
    """Raise nothing about HOST for a while; without HOST, list who is muted.

    Example: cis490-receiver mute lab-07 --for 3d --why "moved to the new rack"
    """
    mutes = MuteFile(data_folder(load()))
    now_ns = SystemClock().now_ns()
    if host is None:
        return _list(mutes, now_ns, as_json)
    if not protocol.is_valid_id(host):
        raise click.UsageError(f"{host!r} is no host id")
    if end:
        click.echo(f"{host} is unmuted" if mutes.end(host, now_ns) else f"{host} was not muted")
        return None
    if not duration or not why:
        raise click.UsageError("give --for and --why, or --end")
    try:
        until_ns = now_ns + parse_duration(duration) * 10**9
    except ValueError as exc:
        raise click.UsageError(f"--for: {exc}") from None
    mutes.set(Mute(host, until_ns, why), now_ns)
    click.echo(f"{host} is muted until {wall_time(until_ns)}")
    return None


def _list(mutes: MuteFile, now_ns: int, as_json: bool) -> None:
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

"""``cis490-receiver verify``: read stored episodes back."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import Any

import click

from cis490_receiver import logfmt
from cis490_receiver.backends import use_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.commands.failures import fail
from cis490_receiver.commands.shared import index_folder, json_option, progress
from cis490_receiver.config import load
from cis490_receiver.errors import BadRequest, ReceiverError
from cis490_receiver.models import EpisodeKey
from cis490_receiver.policy.query import parse_filters
from cis490_receiver.upkeep.quarantine import put_in_quarantine
from cis490_receiver.upkeep.reindex import Reindexer
from cis490_receiver.upkeep.verify import Report, Throttle, Verifier


def _parse_percentage(ctx: click.Context, param: click.Parameter, value: str) -> float:
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%", value.strip())
    if not match or not 0 < float(match[1]) <= 100:
        raise click.BadParameter("give a percentage such as 5%", ctx, param)
    return float(match[1]) / 100


@click.command("verify")
@click.option("--host", help="Only this host's episodes.")
@click.option("--since", help="Only what came since this date (UTC) or moment.")
@click.option(
    "--sample", callback=_parse_percentage, default="100%", show_default=True, help="A random part."
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Read at most so many MB a second.")
@click.option("--max-minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--resume", is_flag=True, help="Go on where the last run stopped.")
@click.option("--quarantine", is_flag=True, help="Move episodes whose bytes changed out of the way.")
@json_option
def command(
    host: str | None,
    since: str | None,
    sample: float,
    rate: float | None,
    max_minutes: float | None,
    resume: bool,
    quarantine: bool,
    as_json: bool,
) -> None:
    """Re-hash stored episodes against the index, and decode each as a trainer would.

    Only looks, unless --quarantine is given: then episodes whose bytes are not what was acknowledged move to
    quarantine/, their lines to index-set-aside.jsonl, and the host may ship them again. Exit status 1: something
    is damaged.
    """
    settings = load()
    folder = index_folder(settings)
    logfmt.configure("error" if as_json else settings.log_level)
    # A timer's stop is an interruption like ^C: the run leaves its place.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store, index = use_backends(settings)
    verifier = Verifier(
        folder,
        store,
        index,
        throttle=Throttle(rate * 1e6 if rate else None),
        sample=sample,
        deadline=time.monotonic() + max_minutes * 60 if max_minutes else None,
    )
    given = {"host": host, "since": since}
    try:
        filters = parse_filters({name: value for name, value in given.items() if value is not None})
        with progress("verifying", show=not as_json) as advance:
            report = verifier.run(filters, resume=resume, advance=advance)
    except BadRequest as exc:
        raise click.UsageError(exc.message) from None
    except (ReceiverError, OSError) as exc:
        fail("could not go on", exc)
    moved: list[EpisodeKey] = []
    try:
        if quarantine:
            put_in_quarantine(
                report, store, index, Reindexer(folder, store, index.journal, SystemClock()), moved
            )
    except (ReceiverError, OSError) as exc:
        click.echo(f"verify: the quarantine is not done: {exc.__cause__ or exc}; run it again", err=True)
    click.echo(json.dumps(_as_dict(report, moved), indent=2) if as_json else _as_text(report, moved))
    raise SystemExit(1 if report.damaged else 0)


def _as_dict(report: Report, moved: list[EpisodeKey]) -> dict[str, Any]:
    return {
        "checked": report.checked,
        "size_bytes": report.size_bytes,
        "complete": report.complete,
        "damaged": [
            {"host_id": d.key.host_id, "episode_id": d.key.episode_id, "kind": d.kind, "detail": d.detail}
            for d in report.damaged
        ],
        "quarantined": [str(key) for key in moved],
    }


def _as_text(report: Report, moved: list[EpisodeKey]) -> str:
    lines = [
        f"{report.checked} episodes read, {report.size_bytes / 1e9:.2f} GB, {len(report.damaged)} damaged"
    ]
    lines += [f"  {damage.key}: {damage.kind}: {damage.detail}" for damage in report.damaged]
    if moved:
        lines.append(f"  {len(moved)} moved to quarantine/; their hosts may ship them again")
    elif any(damage.spoils for damage in report.damaged):
        lines.append("  --quarantine moves those whose bytes changed out of the way")
    if not report.complete:
        lines.append("  stopped early; --resume goes on from here")
    return "\n".join(lines)

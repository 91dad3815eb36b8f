"""``cis490-receiver verify``: read stored episodes back."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import Any, Final

import click

from cis490_receiver import logfmt, page, times
from cis490_receiver.commandline.failures import EXIT_FOUND, EXIT_INTERRUPTED, fail, reason
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commandline.stopping import stop_in_order
from cis490_receiver.commands.filters import chosen
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import load
from cis490_receiver.errors import ReceiverError
from cis490_receiver.models import EpisodeKey
from cis490_receiver.progress import on_standard_error
from cis490_receiver.upkeep.quarantine import put_in_quarantine
from cis490_receiver.upkeep.reindex import Reindexer
from cis490_receiver.upkeep.throttle import Throttle
from cis490_receiver.upkeep.verify import Damage, Report, Verifier

#: How many episodes are printed of each list.
_SHOWN: Final = 100


def _parse_percentage(ctx: click.Context, param: click.Parameter, value: str) -> float:
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%", value.strip())
    if not match or not 0 < float(match[1]) <= 100:
        raise click.BadParameter("give a percentage such as 5%", ctx, param)
    return float(match[1]) / 100


@click.command("verify", epilog=example("cis490-receiver verify --sample 10% --max-minutes 30"))
@click.option("--host", help="Only this host's episodes.")
@click.option("--since", help=f"Only what came since then: {times.FORMS} (UTC).")
@click.option(
    "--sample",
    callback=_parse_percentage,
    default="100%",
    show_default=True,
    help="A part, another one with each run, and at least one episode.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Read at most so many MB a second.")
@click.option("--max-minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--resume", is_flag=True, help="Go on where the last run stopped.")
@click.option("--quarantine", is_flag=True, help="Move episodes whose bytes changed out of the way.")
@quiet_option
@json_option
def command(
    host: str | None,
    since: str | None,
    sample: float,
    rate: float | None,
    max_minutes: float | None,
    resume: bool,
    quarantine: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Re-hash stored episodes against the index, and decode each as a trainer would.

    Only looks, unless --quarantine is given: then episodes whose bytes are not what was acknowledged move to
    quarantine/, their lines to index-set-aside.jsonl, and the host may ship them again. What came as no archive, or
    with a meta.json that says something else than its headers did, is told of and is no damage. Exit status 1:
    something is damaged. 130: ^C; --resume goes on from there.
    """
    settings = load()
    backends = use_index(settings)
    logfmt.configure("error" if as_json else settings.log_level)
    filters = chosen({"host": host, "since": since})
    stopped_by = stop_in_order()
    store, index = backends.store, backends.index
    verifier = Verifier(
        backends.verify_place,
        store,
        index,
        throttle=Throttle(rate * 1e6 if rate else None),
        sample=sample,
        deadline=time.monotonic() + max_minutes * 60 if max_minutes else None,
    )
    try:
        with on_standard_error(quiet=quiet) as progress:
            index.tell_progress(progress)
            report = verifier.run(filters, resume=resume, progress=progress)
    except (ReceiverError, OSError) as exc:
        fail("could not go on", exc)
    moved: list[EpisodeKey] = []
    not_done = None
    if quarantine and not stopped_by:
        try:
            reindexer = Reindexer(index.renewal(backends.clock), store)
            put_in_quarantine(report, store, index, reindexer, moved)
        except (ReceiverError, OSError) as exc:
            not_done = f"the quarantine is not done: {reason(exc)}; run it again"
            click.echo(f"cis490-receiver: {not_done}", err=True)
    found = _as_dict(report, moved) | ({"error": not_done} if not_done else {})
    click.echo(json.dumps(found, indent=2) if as_json else _as_text(report, moved))
    if signal.SIGINT in stopped_by:
        raise SystemExit(EXIT_INTERRUPTED)
    raise SystemExit(EXIT_FOUND if report.damaged else 0)


def _as_dict(report: Report, moved: list[EpisodeKey]) -> dict[str, Any]:
    return {
        "checked": report.checked,
        "size_bytes": report.size_bytes,
        "complete": report.complete,
        "damaged": [damage.as_dict() for damage in report.damaged],
        "untrainable": [damage.as_dict() for damage in report.untrainable],
        "quarantined": [str(key) for key in moved],
    }


def _as_text(report: Report, moved: list[EpisodeKey]) -> str:
    lines = [
        f"{report.checked} episodes checked, {page.size(report.size_bytes)} read, {len(report.damaged)} damaged"
    ]
    lines += _listed(report.damaged)
    if moved:
        lines.append(f"  {len(moved)} moved to quarantine/; their hosts may ship them again")
    elif any(damage.spoils for damage in report.damaged):
        lines.append("  --quarantine moves those whose bytes changed out of the way")
    if report.untrainable:
        lines.append(f"{len(report.untrainable)} are stored as they came, and are no good to a trainer")
        lines += _listed(report.untrainable)
        lines.append(
            '  cis490-receiver inspect withdraws what does not open; validate = "full" refuses it at the door'
        )
    if not report.complete:
        lines.append(
            "  stopped early; --resume goes on from here" if not report.place_lost else "  stopped early"
        )
    if report.place_lost:
        lines.append(f"  the place for --resume could not be noted: {report.place_lost}")
    return "\n".join(lines)


def _listed(found: list[Damage]) -> list[str]:
    lines = [f"  {damage.key}: {damage.kind}: {damage.detail}" for damage in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more; --json names them all")
    return lines

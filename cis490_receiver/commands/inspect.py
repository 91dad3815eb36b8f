"""``cis490-receiver inspect``: look at new episodes as a trainer would."""

from __future__ import annotations

import json
import signal
from typing import Any, Final

import click

from cis490_receiver import logfmt, page, protocol
from cis490_receiver.backends import Backends
from cis490_receiver.commandline.failures import EXIT_FOUND, EXIT_INTERRUPTED, reason
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commandline.stopping import stop_in_order
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ReceiverError
from cis490_receiver.progress import Progress, on_standard_error
from cis490_receiver.state.base.inspections import CHANGED, MISLABELLED, UNOPENABLE, Inspected
from cis490_receiver.upkeep.examine import MISSING, UNFINISHED, UNREADABLE
from cis490_receiver.upkeep.inspect import Inspection, Report
from cis490_receiver.upkeep.settle import Ledger
from cis490_receiver.upkeep.throttle import Throttle

#: How many findings are printed.
_SHOWN: Final = 100
_HOUR_NS: Final = 3600 * 10**9
_WORDS: Final = {
    UNOPENABLE: "does not open",
    CHANGED: "changed since it was acknowledged",
    MISLABELLED: "mislabelled",
    UNFINISHED: "too large to be looked at as a whole",
    UNREADABLE: "not readable",
    MISSING: "missing",
}


@click.command("inspect", epilog=example("cis490-receiver inspect --host lab-07 --dry-run"))
@click.option("--host", help="All of this host's episodes, whether they were looked at or not.")
@click.option("--all", "anew", is_flag=True, help="Begin anew with the first episode.")
@click.option("--dry-run", is_flag=True, help="Only tell what is found: withdraw and note nothing.")
@click.option("--quiet", is_flag=True, help="Print nothing but what was found: for cron and timers.")
@json_option
def command(host: str | None, anew: bool, dry_run: bool, quiet: bool, as_json: bool) -> None:
    """Read each new episode once; withdraw what does not open.

    Looks at what came since the last run, at most inspect_bytes_per_second fast: decodes it to its end, compares its
    SHA-256 with the index and its meta.json with what was said of it when it came. What does not open, or is not any
    more what was acknowledged, is withdrawn by "inspection": listings, mirrors and exports leave it out; nothing is
    deleted, and what `withdraw --undo` brought back stays. One run at a time; another one does nothing. Exit status
    1: something is wrong. 130: ^C; the next run goes on from there.
    """
    if host is not None and not protocol.is_valid_id(host):
        raise click.UsageError("--host must be a host id")
    if host is not None and anew:
        raise click.UsageError(
            "give --host or --all, not both: --host looks at all of the host's episodes anyway"
        )
    settings = load()
    backends = use_index(settings)
    logfmt.configure("error" if as_json else settings.log_level)
    stopped_by = stop_in_order()
    with on_standard_error(quiet=quiet) as progress:
        backends.index.tell_progress(progress)
        inspection = _inspection(settings, backends, progress)
        if dry_run:
            inspection.only_look(Inspected() if anew else backends.inspections.read(), host)
        elif not _run_alone(inspection, settings, backends, host, anew):
            _tell_busy(quiet, as_json)
            return
    _tell(inspection.report, dry_run, quiet, as_json)
    if signal.SIGINT in stopped_by:
        raise SystemExit(EXIT_INTERRUPTED)
    raise SystemExit(EXIT_FOUND if _is_wrong(inspection.report) else 0)


def _inspection(settings: Settings, backends: Backends, progress: Progress) -> Inspection:
    return Inspection(
        backends.store,
        backends.index,
        throttle=Throttle(settings.inspect_bytes_per_second or None),
        max_decompressed_bytes=settings.max_decompressed_bytes,
        progress=progress,
    )


def _ledger(settings: Settings, backends: Backends) -> Ledger:
    return Ledger(
        backends.inspections,
        backends.index,
        backends.withdrawals,
        backends.clock,
        forget_ns=settings.lookback_hours * _HOUR_NS,
    )


def _run_alone(
    inspection: Inspection, settings: Settings, backends: Backends, host: str | None, anew: bool
) -> bool:
    """Inspect; False when another run is at it."""
    with backends.inspections.alone_or_not() as alone:
        if not alone:
            return False
        ledger = _ledger(settings, backends)
        if anew:
            ledger.begin_anew()
        try:
            if host is not None:
                inspection.look_at(host, ledger)
            else:
                inspection.go_on(ledger)
        except (ReceiverError, OSError) as exc:
            inspection.report.complete = False
            inspection.report.problem = f"could not go on: {reason(exc)}"
        return True


def _tell_busy(quiet: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"busy": True}))
    elif not quiet:
        click.echo("another inspection is running: nothing was done")


def _is_wrong(report: Report) -> bool:
    return bool(report.findings or report.problem)


def _tell(report: Report, dry_run: bool, quiet: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_dict(report, dry_run), indent=2))
    elif _is_wrong(report) or not quiet:
        _print(report, dry_run)


def _as_dict(report: Report, dry_run: bool) -> dict[str, Any]:
    return {
        "busy": False,
        "dry_run": dry_run,
        "looked": report.looked,
        "size_bytes": report.size_bytes,
        "complete": report.complete,
        "withdrawn": report.withdrawn,
        "spared": report.spared,
        "counts": {kind: report.counts[kind] for kind in _WORDS},
        "findings": [
            {
                "host_id": found.episode.host_id,
                "episode_id": found.episode.episode_id,
                "kind": found.kind,
                "detail": found.detail,
            }
            for found in report.findings
        ],
    } | ({"error": report.problem, "code": "not-finished"} if report.problem else {})


def _print(report: Report, dry_run: bool) -> None:
    click.echo(_summary(report))
    for found in report.findings[:_SHOWN]:
        page.say(f"{_WORDS[found.kind]}: {found.detail}", label=f"  {found.episode.key}  ")
    if len(report.findings) > _SHOWN:
        click.echo(f"  and more; --json names up to {len(report.findings)}")
    if dry_run and report.counts[UNOPENABLE] + report.counts[CHANGED]:
        click.echo("Nothing was withdrawn. Say it again without --dry-run.")
    if report.problem:
        click.echo(f"cis490-receiver: {report.problem}", err=True)


def _summary(report: Report) -> str:
    told = [f"{report.counts[kind]} {kind}" for kind in _WORDS if report.counts[kind]]
    told += [f"{report.withdrawn} withdrawn"] if report.withdrawn else []
    told += [f"{report.spared} unopenable that were brought back before"] if report.spared else []
    episodes = f"{report.looked} episode" if report.looked == 1 else f"{report.looked} episodes"
    looked = (
        f"{episodes} looked at, {page.size(report.size_bytes)} read" if report.looked else "no new episode"
    )
    rest = ": " + ", ".join(told) if told else ", nothing is wrong" if report.looked else ""
    return looked + rest + ("" if report.complete else "; not all was looked at: the next run goes on")

"""``cis490-receiver release verify``."""

from __future__ import annotations

import json
import signal
from typing import Any, Final

import click

from cis490_receiver import logfmt, page, protocol
from cis490_receiver.commandline.failures import EXIT_FOUND, EXIT_INTERRUPTED
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commandline.stopping import stop_in_order
from cis490_receiver.commands.release.named import name_argument, opened
from cis490_receiver.commands.shared import parse_sha256, use_episodes
from cis490_receiver.config import load
from cis490_receiver.index.base.releases import Release
from cis490_receiver.progress import on_standard_error
from cis490_receiver.upkeep.release_verify import ReleaseReport, ReleaseVerifier
from cis490_receiver.upkeep.throttle import Throttle

_SHOWN: Final = 100


@click.command(
    "verify",
    short_help="Read a release back: its table, its episodes.",
    epilog=example("cis490-receiver release verify paper-1 --host lab-07"),
)
@name_argument
@click.option("--host", help="Only this host's episodes.")
@click.option("--sha256", callback=parse_sha256, help="What its table must have, from a paper for example.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Read at most so many MB a second.")
@click.option("--resume", is_flag=True, help="Go on where the last run over this release stopped.")
@quiet_option
@json_option
def command(
    name: str,
    host: str | None,
    sha256: str | None,
    rate: float | None,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Hash the table of the release NAME again, and every stored episode that it names.

    Exit status 1: something is not what was frozen. 130: ^C; --resume goes on from there.
    """
    if host is not None and not protocol.is_valid_id(host):
        raise click.UsageError(f"--host: {host!r} is no host id")
    settings = load()
    backends = use_episodes(settings)
    logfmt.configure("error" if as_json else settings.log_level)
    found = opened(backends, name)
    stopped_by = stop_in_order()
    throttle = Throttle(rate * 1e6 if rate else None)
    with found.stream, on_standard_error(quiet=quiet) as progress:
        verifier = ReleaseVerifier(
            backends.release_verify_place, backends.store, throttle=throttle, progress=progress
        )
        report = verifier.run(found, host_id=host, resume=resume)
    expected = sha256 or found.release.sha256
    click.echo(
        json.dumps(_as_dict(found.release, expected, report), indent=2)
        if as_json
        else _as_text(found.release, expected, report)
    )
    if signal.SIGINT in stopped_by:
        raise SystemExit(EXIT_INTERRUPTED)
    intact = report.table_sha256 == expected and not report.bad_lines and not report.damaged
    raise SystemExit(0 if intact else EXIT_FOUND)


def _as_dict(release: Release, expected: str, report: ReleaseReport) -> dict[str, Any]:
    return {
        "name": release.name,
        "sha256": expected,
        "actual_sha256": report.table_sha256,
        "bad_lines": report.bad_lines,
        "checked": report.checked,
        "size_bytes": report.size_bytes,
        "complete": report.complete,
        "damaged": [damage.as_dict() for damage in report.damaged],
    }


def _as_text(release: Release, expected: str, report: ReleaseReport) -> str:
    lines = []
    if report.table_sha256 == expected:
        lines.append(f"the table is what it was: {expected}  {release.name}.jsonl")
    elif report.table_sha256:
        lines.append(f"the table is another: {report.table_sha256}, and not {expected}")
    if report.bad_lines:
        lines.append(f"{report.bad_lines} lines of the table cannot be read")
    lines.append(
        f"{report.checked} episodes checked, {page.size(report.size_bytes)} read, {len(report.damaged)} damaged"
    )
    lines += [f"  {damage.key}: {damage.kind}: {damage.detail}" for damage in report.damaged[:_SHOWN]]
    if len(report.damaged) > _SHOWN:
        lines.append(f"  and {len(report.damaged) - _SHOWN} more; --json names them all")
    if not report.complete:
        lines.append("  stopped early; --resume goes on from here")
    return "\n".join(lines)

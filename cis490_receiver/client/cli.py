"""``cis490-shipper``: what a lab host's people and its units run."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cis490_receiver import i_json, protocol
from cis490_receiver.client.config import TABLE, LabHost, load, load_with_sources
from cis490_receiver.commandline.failures import EXIT_FOUND, EXIT_USAGE, Failure
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commandline.program import ReportingGroup
from cis490_receiver.configuration.explain import config_command
from cis490_receiver.page import say

if TYPE_CHECKING:
    from cis490_receiver.client.diagnosis import Diagnosis
    from cis490_receiver.client.transport import Transport


def log_to_stderr() -> None:
    """Let the package's log appear."""
    from cis490_receiver import logfmt

    logfmt.configure("info", journal="JOURNAL_STREAM" in os.environ)


@click.group(
    cls=ReportingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog=example("cis490-shipper --ping"),
)
@click.version_option(package_name="cis490-receiver", message="%(prog)s %(version)s")
@click.option("--ping", is_flag=True, help="Test the way to the receiver, stage by stage.")
@json_option
@click.pass_context
def main(ctx: click.Context, ping: bool, as_json: bool) -> None:
    """Ship this lab host's episodes to the receiver.

    Reads /etc/cis490-lab-host/lab-host.toml, or the file that CIS490_LAB_CONFIG names. Exit status: 0 fine, 1 something
    is wrong, 2 wrong usage or configuration.
    """
    os.umask(0o027)
    if ping:
        sys.exit(_ping(as_json))
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        sys.exit(EXIT_USAGE)


def _ping(as_json: bool) -> int:
    from cis490_receiver.client.diagnosis import diagnose

    diagnosis = diagnose(_transport(load()))
    if as_json:
        stages = [dataclasses.asdict(stage) for stage in diagnosis.stages]
        told = {"ok": diagnosis.failed is None, "skew_seconds": diagnosis.skew_seconds, "stages": stages}
        click.echo(json.dumps(told, indent=2))
    else:
        _print_diagnosis(diagnosis)
    return EXIT_FOUND if diagnosis.failed else 0


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    marks = {True: "ok  ", False: "FAIL", None: "-   "}
    for stage in diagnosis.stages:
        say(stage.seen, label=f"{marks[stage.ok]} {stage.name:<18} ")
    if diagnosis.failed:
        say(f"{diagnosis.failed.name} fails. What to do: {diagnosis.failed.remedy}.", label="\n")


def _transport(host: LabHost) -> Transport:
    from cis490_receiver.client.transport import Transport

    return Transport(host)


@main.command(epilog=example("cis490-shipper ship run-0001.tar.zst"))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def ship(files: tuple[Path, ...], as_json: bool) -> None:
    """Ship FILES, wherever they lie, and leave them there.

    Each is read through first, as lab-host.toml's `check` says. What the receiver cannot take now is tried again for
    about a minute.
    """
    from cis490_receiver.client import byhand

    transport = _transport(load())
    _by_hand((byhand.ship(transport, path) for path in files), byhand.ACKNOWLEDGED, as_json)


@main.command(epilog=example("cis490-shipper check run-0001.tar.zst"))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Say whether FILES are whole episodes, and what is in them; sends nothing.

    Needs no configuration.
    """
    from cis490_receiver.client import byhand

    _by_hand((byhand.check(path) for path in files), byhand.GOOD, as_json)


def _by_hand(results: Iterable[dict[str, Any]], wanted: str, as_json: bool) -> None:
    from cis490_receiver.client import byhand

    told = []
    for result in results:
        told.append(result)
        if not as_json:
            byhand.show(result)
    if as_json:
        click.echo(json.dumps({"files": told}, indent=2))
    sys.exit(0 if all(result["verdict"] == wanted for result in told) else EXIT_FOUND)


@main.command(epilog=example("cis490-shipper run --once"))
@click.option("--once", is_flag=True, help="Try each finished file once, and end.")
def run(once: bool) -> None:
    """Ship what the recorder puts into the spool, for ever."""
    from cis490_receiver import progress
    from cis490_receiver.client.shipper import Shipper
    from cis490_receiver.client.spool import Spool

    host = load()
    log_to_stderr()
    spool = Spool(host.spool_dir)
    try:
        spool.prepare()
        with spool.lock() as ours:
            if not ours:
                raise Failure(f"another shipper works on {host.spool_dir}", "spool-in-use")
            # The journal has a line for each file as it is.
            watch = partial(progress.of_bytes, quiet=not sys.stderr.isatty())
            shipper = Shipper(_transport(host), spool, watch=watch)
            if not once:
                shipper.run()
            shipper.reconsider()
            result = shipper.round()
    except OSError as exc:
        raise Failure(f"the spool {host.spool_dir} cannot be used: {exc}", "spool-unusable") from exc
    click.echo(f"{result.shipped} shipped, {result.refused} refused, {result.kept} left in the spool")
    if result.too_young:
        click.echo(
            f"{result.too_young} changed within the last {host.settle_seconds} s (settle_seconds): they wait"
        )
    sys.exit(EXIT_FOUND if result.refused or result.kept else 0)


@main.command(epilog=example("cis490-shipper status"))
@json_option
def status(as_json: bool) -> None:
    """Say what waits, what was refused and why, and how the shipper is."""
    from cis490_receiver.client.status import look, print_for_people

    told = look(load())
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        print_for_people(told)
    sys.exit(EXIT_FOUND if told["error"] or told["kept"] or told["refused"]["files"] else 0)


@main.command(epilog=example("cis490-shipper retry --all"))
@click.argument("names", nargs=-1)
@click.option("--all", "take_all", is_flag=True, help="Everything that was refused.")
@json_option
def retry(names: tuple[str, ...], take_all: bool, as_json: bool) -> None:
    """Put refused episodes back into the spool.

    By NAME, with or without .tar.zst, as `status` and the folder refused/ show it: after what they were refused for is
    mended.
    """
    from cis490_receiver.client.spool import Spool

    if bool(names) == take_all:
        raise click.UsageError("name what to try again, or say --all")
    spool = Spool(load().spool_dir)
    wanted = {name.removesuffix(protocol.EPISODE_SUFFIX) for name in names}
    refused = {path.name.removesuffix(protocol.EPISODE_SUFFIX): path for path, _ in spool.refusals()}
    chosen = {name: path for name, path in refused.items() if take_all or name in wanted}
    missing = sorted(wanted - chosen.keys())
    blocked = [name for name, path in chosen.items() if not spool.take_back(path)]
    count = len(chosen) - len(blocked)
    if as_json:
        click.echo(
            json.dumps(
                {"back": count, "missing": _readable(missing), "blocked": _readable(blocked)}, indent=2
            )
        )
    else:
        for name in missing:
            say(f"{name}: there is no such refused file in {spool.refused}", err=True)
        for name in blocked:
            say(f"{name}: another file of this name waits in the spool", err=True)
        click.echo(f"{count} back in the spool")
    sys.exit(EXIT_FOUND if missing or blocked else 0)


def _readable(names: list[str]) -> list[str]:
    return [i_json.readable(name) for name in names]


@main.command(epilog=example("cis490-shipper autoupdate"))
@click.option("--if-cloned", is_flag=True, help="Where there is no clone yet, that is all right.")
def autoupdate(if_cloned: bool) -> None:
    """Bring the orchestrator's clone up to its branch, by fast-forward alone.

    A clone that has commits, changed files or a branch of its own is left as it is, and the reason is said. Exit
    status 1: it is not up to date.
    """
    from cis490_receiver.client.clone import Clone

    host = load()
    if if_cloned and not host.orchestrator_dir.exists():
        click.echo(
            f"{host.orchestrator_dir}: there is no clone yet; make one there, and it is kept up to date"
        )
        return
    standing, told = Clone(host.orchestrator_dir, host.orchestrator_ref).fast_forward()
    click.echo(f"{host.orchestrator_dir}: {told}")
    sys.exit(EXIT_FOUND if standing.findings or standing.note else 0)


@main.command("cert-fetch", epilog=example("cis490-shipper cert-fetch"))
@click.option("--force", is_flag=True, help="Also when it is not due.")
def cert_fetch(force: bool) -> None:
    """Renew the client certificate before it ends, with renew_command; the old one stays where that fails."""
    from cis490_receiver.client.certificate import RenewalFailed, renew

    try:
        click.echo(renew(load(), force=force))
    except (RenewalFailed, OSError) as exc:
        raise Failure(f"{exc}; the certificate in force stays", "not-renewed") from exc


main.add_command(config_command(TABLE, load_with_sources))

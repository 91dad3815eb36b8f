"""``cis490-receiver mirror``: the trainer's end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from cis490_receiver import logfmt, page
from cis490_receiver.commandline.failures import Failure, interrupted
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commands.filters import chosen, filter_options
from cis490_receiver.commands.shared import parse_release, parse_sha256
from cis490_receiver.configuration.token import read_token
from cis490_receiver.filters import Filters
from cis490_receiver.http_client.failures import CaFileUnusable, CertificateUnusable, TransportFailed
from cis490_receiver.progress import on_standard_error
from cis490_receiver.trainer.fetch import NOT_THERE
from cis490_receiver.trainer.mirror import Mirror
from cis490_receiver.trainer.release import ReleaseMirror, ReleaseResult
from cis490_receiver.trainer.remote import MirrorFailed, Remote
from cis490_receiver.trainer.supply import Result

#: How many failures are printed.
_SHOWN: Final = 20


@click.command("mirror", epilog=example("cis490-receiver mirror http://127.0.0.1:8490 episodes"))
@click.argument("url")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@filter_options
@click.option(
    "--release", callback=parse_release, metavar="NAME", help="Exactly the episodes of this release."
)
@click.option("--sha256", callback=parse_sha256, help="What the release's table must have.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The token.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CA for https.")
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="Client certificate for https.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Its key.")
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Fetch so many at once."
)
@click.option("--check", is_flag=True, help="Hash what is there again.")
@quiet_option
@json_option
def command(
    url: str,
    folder: Path,
    release: str | None,
    sha256: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    cert: Path | None,
    key: Path | None,
    jobs: int,
    check: bool,
    quiet: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Make FOLDER hold the episodes of the receiver at URL, and keep up with it: run it again.

    Fetches only what is missing, goes on with what was cut off, and verifies every byte. FOLDER/index.jsonl lists
    exactly what is there. With --release it comes to hold FOLDER/releases/NAME.jsonl and the episodes that this table
    lists, also those withdrawn since; what else is there stays. Exit status 1: something could not be had.
    """
    logfmt.configure("error")
    if (cert is None) != (key is None):
        raise click.UsageError("give --cert and --key together")
    filters = chosen(given)
    if release is not None and filters != Filters():
        raise click.UsageError("a release is mirrored as it is; give --release or filters, not both")
    if sha256 is not None and release is None:
        raise click.UsageError("--sha256 is that of a release; give --release too")
    certificate = (cert, key) if cert and key else None
    remote = _remote(url, _read_token(token_file) if token_file else None, ca_file, certificate)
    with _failures_told(), on_standard_error(quiet=quiet) as progress:
        if release is not None:
            of_release = ReleaseMirror(remote, folder, release, jobs=jobs, progress=progress)
            done: Result = of_release.run(sha256=sha256, check=check)
        else:
            done = Mirror(remote, folder, filters, jobs=jobs, progress=progress).run(check=check)
    _print(done, as_json)
    raise SystemExit(1 if done.failed else 0)


@contextlib.contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except MirrorFailed as exc:
        if isinstance(exc.__cause__, TransportFailed):
            raise Failure(exc.message, exc.code, stage=exc.__cause__.stage) from exc
        raise
    except KeyboardInterrupt:
        raise interrupted("interrupted; run it again to go on") from None


def _remote(
    url: str, token: str | None, ca_file: Path | None, certificate: tuple[Path, Path] | None
) -> Remote:
    try:
        return Remote(url, token, ca_file=ca_file, certificate=certificate)
    except MirrorFailed as exc:
        raise click.UsageError(exc.message) from None
    except (CaFileUnusable, CertificateUnusable) as exc:
        raise click.UsageError(f"{exc.message}; {exc.remedy}") from None


def _read_token(path: Path) -> str:
    try:
        return read_token(path)
    except OSError as exc:
        raise click.UsageError(f"--token-file {path} cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise click.UsageError(f"--token-file: the content of {path} {exc}") from None


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        data: dict[str, Any] = {
            "present": result.present,
            "fetched": result.fetched,
            "fetched_bytes": result.fetched_bytes,
            "withdrawn": result.withdrawn,
        }
        if isinstance(result, ReleaseResult):
            data |= {
                "release": result.name,
                "sha256": result.sha256,
                "withdrawn_since": result.withdrawn_since,
            }
        click.echo(json.dumps(data | {"failed": result.failed}, indent=2))
        return
    size = page.size(result.fetched_bytes)
    gone = f", {result.withdrawn} withdrawn" if result.withdrawn else ""
    click.echo(
        f"{result.present} episodes here, {result.fetched} new ({size}){gone}, {len(result.failed)} failed"
    )
    if isinstance(result, ReleaseResult):
        since = f", {result.withdrawn_since} withdrawn since" if result.withdrawn_since else ""
        click.echo(f"{result.sha256}  {result.name}.jsonl{since}")
    failed = sorted(result.failed.items())
    for key, reason in failed[:_SHOWN]:
        click.echo(f"  {key}: {reason}", err=True)
    if len(failed) > _SHOWN:
        click.echo(f"  and {len(failed) - _SHOWN} more; --json names them all", err=True)
    lost = sum(reason == NOT_THERE for reason in result.failed.values())
    if lost:
        page.say(
            f"{lost} are in the receiver's index and not on its disk; there, `cis490-receiver verify` names them and "
            "`cis490-receiver reindex` takes their lines out",
            label="  ",
            err=True,
        )

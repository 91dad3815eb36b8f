"""``cis490-receiver release create``."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Sequence
from typing import Final

import click

from cis490_receiver import page
from cis490_receiver.backends import Backends
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commands.filters import as_filters, as_words, filter_options
from cis490_receiver.commands.release.named import amount, name_argument
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import load
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import Selection, Total
from cis490_receiver.index.base.releases import About, Release, ReleaseExists, as_record
from cis490_receiver.models import wall_time
from cis490_receiver.progress import Progress, on_standard_error
from cis490_receiver.withdrawal import WHY_LIMIT

#: More hosts than there can be.
_ALL: Final = 1 << 62
_SHOWN: Final = 20


@click.command(
    "create",
    short_help="Freeze the chosen episodes under a name.",
    epilog=example('cis490-receiver release create paper-1 --since 2026-09-01 --why "what we submitted"'),
)
@name_argument
@filter_options
@click.option("--why", help="What it is for.")
@click.option("--dry-run", is_flag=True, help="Only tell how many episodes it would be.")
@quiet_option
@json_option
def command(
    name: str, why: str | None, dry_run: bool, quiet: bool, as_json: bool, **given: str | None
) -> None:
    """Freeze the index lines of the episodes that pass the filters and are not withdrawn, as NAME.

    They are written to releases/NAME.jsonl, sorted by host and episode, and never change again; the file's SHA-256 is
    printed, which proves a copy. Exit status 1: there is such a release already, or no episode passes.
    """
    if given.pop("withdrawn", None) not in (None, "exclude"):
        raise click.UsageError("a release is never made of withdrawn episodes; leave out --withdrawn")
    words = as_words(given)
    filters, reason = as_filters(words), _reason(why)
    backends = use_index(load())
    if backends.releases.find(name) is not None:
        raise ReleaseExists.named(name)
    with on_standard_error(quiet=quiet) as progress:
        backends.index.tell_progress(progress)
        if dry_run:
            _tell_plan(name, backends.index.totals(filters, ["host_id"], limit=_ALL), as_json)
            return
        about = About(
            created_at_wall=wall_time(backends.clock.now_ns()),
            filters=words,
            why=reason,
            by=getpass.getuser(),
        )
        release = _freeze(backends, name, filters, about, progress)
    if as_json:
        click.echo(json.dumps(as_record(release, 0), indent=2))
    else:
        click.echo(f"{amount(release.episodes, release.episode_bytes, release.hosts)} are release {name}")
        click.echo(f"{release.sha256}  {name}.jsonl")


def _freeze(backends: Backends, name: str, filters: Filters, about: About, progress: Progress) -> Release:
    with backends.index.selection(filters) as selection:
        if not selection.episodes:
            raise Failure("no episode passes; nothing was made", "nothing-chosen")
        progress.begin("writing", selection.episodes, "episodes")
        lines = _told(selection.lines, progress)
        return backends.releases.create(
            name, Selection(lines, selection.episodes, selection.size_bytes, selection.hosts), about
        )


def _told(lines: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for line in lines:
        yield line
        progress.advance()


def _reason(why: str | None) -> str:
    text = (why or "").strip()
    if len(text) > WHY_LIMIT or (text and not text.isprintable()):
        raise click.UsageError(f"--why: one line of at most {WHY_LIMIT} characters")
    return text


def _tell_plan(name: str, hosts: Sequence[Total], as_json: bool) -> None:
    episodes, size_bytes = sum(host.episodes for host in hosts), sum(host.size_bytes for host in hosts)
    if as_json:
        plan = {"name": name, "dry_run": True, "episodes": episodes, "episode_bytes": size_bytes}
        click.echo(json.dumps(plan | {"hosts": len(hosts)}, indent=2))
        return
    click.echo(f"{amount(episodes, size_bytes, len(hosts))} would be release {name}")
    for host in sorted(hosts, key=lambda host: -host.episodes)[:_SHOWN]:
        click.echo(f"  {host.group['host_id']}: {host.episodes}, {page.size(host.size_bytes)}")
    if len(hosts) > _SHOWN:
        click.echo(f"  and {len(hosts) - _SHOWN} more hosts")

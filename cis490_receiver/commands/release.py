"""``cis490-receiver release``: frozen tables of contents, for papers and training runs to name."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from cis490_receiver import page, protocol
from cis490_receiver.backends import Backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commands.filters import as_filters, as_words, filter_options
from cis490_receiver.commands.shared import use_episodes, use_index
from cis490_receiver.config import load
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex, Selection, Total
from cis490_receiver.index.base.releases import About, Release, ReleaseExists, as_record
from cis490_receiver.models import EpisodeKey, wall_time
from cis490_receiver.progress import Progress, on_standard_error
from cis490_receiver.withdrawal import WHY_LIMIT

#: More hosts than there can be.
_ALL: Final = 1 << 62
_SHOWN: Final = 20


def _parse_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not protocol.is_valid_id(value):
        raise click.BadParameter(
            "1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit, no ..", ctx, param
        )
    return value


name_argument = click.argument("name", callback=_parse_name)


@click.group("release", epilog=example("cis490-receiver release create 2026-11 --until 2026-12-01"))
def command() -> None:
    """Freeze the table of contents that a paper or a training run names; list and compare such tables, verify them."""


@command.command(
    "create",
    epilog=example('cis490-receiver release create paper-1 --since 2026-09-01 --why "what we submitted"'),
)
@name_argument
@filter_options
@click.option("--why", help="What it is for.")
@click.option("--dry-run", is_flag=True, help="Only tell how many episodes it would be.")
@quiet_option
@json_option
def create(
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
        raise ReleaseExists(f"there is a release {name} already, and none is ever changed; take another name")
    with on_standard_error(quiet=quiet) as progress:
        backends.index.tell_progress(progress)
        if dry_run:
            _tell_plan(name, backends.index.totals(filters, ["host_id"], limit=_ALL), as_json)
            return
        about = About(
            created_at_wall=wall_time(SystemClock().now_ns()), filters=words, why=reason, by=getpass.getuser()
        )
        release = _freeze(backends, name, filters, about, progress)
    if as_json:
        click.echo(json.dumps(as_record(release, 0), indent=2))
    else:
        click.echo(f"{_amount(release.episodes, release.episode_bytes, release.hosts)} are release {name}")
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
    click.echo(f"{_amount(episodes, size_bytes, len(hosts))} would be release {name}")
    for host in sorted(hosts, key=lambda host: -host.episodes)[:_SHOWN]:
        click.echo(f"  {host.group['host_id']}: {host.episodes}, {page.size(host.size_bytes)}")
    if len(hosts) > _SHOWN:
        click.echo(f"  and {len(hosts) - _SHOWN} more hosts")


def _amount(episodes: int, size_bytes: int, hosts: int) -> str:
    many = "episode" if episodes == 1 else "episodes"
    return f"{episodes} {many}, {page.size(size_bytes)}, of {hosts} {'host' if hosts == 1 else 'hosts'}"


@command.command("list", epilog=example("cis490-receiver release list"))
@json_option
def list_(as_json: bool) -> None:
    """List the releases, the newest first: when they were made, how many episodes and bytes they have, the SHA-256 of
    their tables, and how many of their episodes were withdrawn since."""
    backends = use_episodes(load())
    records = [
        as_record(release, backends.releases.count_withdrawn(release)) for release in backends.releases.all()
    ]
    if as_json:
        click.echo(json.dumps({"releases": records}, indent=2))
    elif not records:
        click.echo("there is no release yet; cis490-receiver release create NAME makes one")
    else:
        click.echo(_table(records))


def _table(records: list[dict[str, Any]]) -> str:
    rows = [("name", "made", "episodes", "size", "withdrawn since", "SHA-256 of its table")]
    for one in records:
        gone = one["withdrawn_since"]
        rows.append(
            (
                one["name"],
                one["created_at_wall"],
                str(one["episodes"]),
                page.size(one["episode_bytes"]),
                "damaged" if gone is None else str(gone),
                one["sha256"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


@command.command("show", epilog=example("cis490-receiver release show paper-1"))
@name_argument
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the release NAME: what it is of, and what was withdrawn since."""
    backends = use_episodes(load())
    release = require(backends, name)
    count, withdrawn = backends.releases.count_withdrawn(release), _withdrawn(backends, release)
    if as_json:
        click.echo(json.dumps({**as_record(release, count), "withdrawn": withdrawn}, indent=2))
        return
    about = release.about
    chosen = ", ".join(f"{name} {value}" for name, value in about.filters.items()) or "all episodes"
    click.echo(f"{release.name}: {_amount(release.episodes, release.episode_bytes, release.hosts)}")
    click.echo(f"made      {about.created_at_wall}{f' by {about.by}' if about.by else ''}")
    click.echo(f"chosen    {chosen}")
    if about.why:
        click.echo(f"why       {about.why}")
    click.echo(f"SHA-256   {release.sha256}  {release.name}.jsonl, {page.size(release.size_bytes)}")
    if count is None:
        click.echo(f"its table is damaged; see cis490-receiver release verify {name}")
    elif count:
        click.echo(f"withdrawn since: {count}")
    for one in withdrawn[:_SHOWN]:
        click.echo(f"  {one['host_id']}/{one['episode_id']}: {one['why']}")
    if len(withdrawn) > _SHOWN:
        click.echo(f"  and {len(withdrawn) - _SHOWN} more; --json names them all")


def require(backends: Backends, name: str) -> Release:
    """The release `name`.

    Raises:
        Failure: there is none.
    """
    release = backends.releases.find(name)
    if release is None:
        raise Failure(
            f"there is no release {name}; cis490-receiver release list shows all", "no-such-release"
        )
    return release


def _withdrawn(backends: Backends, release: Release) -> list[dict[str, str]]:
    """Its withdrawn episodes, and why each is."""
    return [_why(backends.index, key) for key in backends.releases.withdrawn(release)]


def _why(index: EpisodeIndex, key: EpisodeKey) -> dict[str, str]:
    withdrawal = index.withdrawal(key)
    return {
        "host_id": key.host_id,
        "episode_id": key.episode_id,
        "withdrawn_at_wall": withdrawal.at_wall if withdrawal else "",
        "why": withdrawal.why if withdrawal else "",
    }

"""``cis490-receiver release list`` and ``show``."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from cis490_receiver import page
from cis490_receiver.backends import Backends
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.release.citation import bibtex
from cis490_receiver.commands.release.named import amount, name_argument, require
from cis490_receiver.commands.shared import use_episodes
from cis490_receiver.config import load
from cis490_receiver.index.base.releases import Release, as_record

_SHOWN: Final = 20


@click.command(
    "list",
    short_help="List the releases, and what was withdrawn since.",
    epilog=example("cis490-receiver release list"),
)
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


@click.command(
    "show",
    short_help="Show one; --bibtex to cite it.",
    epilog=example("cis490-receiver release show paper-1 --bibtex"),
)
@name_argument
@click.option("--bibtex", "as_bibtex", is_flag=True, help="Print an entry for a bibliography.")
@json_option
def show(name: str, as_bibtex: bool, as_json: bool) -> None:
    """Show the release NAME: what it is of, and what was withdrawn since."""
    settings = load()
    backends = use_episodes(settings)
    release = require(backends, name)
    entry = bibtex(release, settings.public_url, settings.institution)
    if as_bibtex and not as_json:
        click.echo(entry)
        return
    count = backends.releases.count_withdrawn(release)
    withdrawn = _withdrawn(backends, release) if count else []
    if as_json:
        click.echo(
            json.dumps(as_record(release, count) | {"withdrawn": withdrawn, "bibtex": entry}, indent=2)
        )
    else:
        click.echo("\n".join(_description(release, count, withdrawn)))


def _description(release: Release, count: int | None, withdrawn: list[dict[str, str]]) -> list[str]:
    about = release.about
    chosen = ", ".join(f"{name} {value}" for name, value in about.filters.items()) or "all episodes"
    lines = [
        f"{release.name}: {amount(release.episodes, release.episode_bytes, release.hosts)}",
        f"made      {about.created_at_wall}{f' by {about.by}' if about.by else ''}",
        f"chosen    {chosen}",
        *([f"why       {about.why}"] if about.why else []),
        f"SHA-256   {release.sha256}  {release.name}.jsonl, {page.size(release.size_bytes)}",
    ]
    if count is None:
        return [*lines, f"its table is damaged: cis490-receiver release verify {release.name} says how"]
    lines += [f"withdrawn since: {count}"] if count else []
    lines += [f"  {one['host_id']}/{one['episode_id']}: {one['why']}" for one in withdrawn[:_SHOWN]]
    if len(withdrawn) > _SHOWN:
        lines.append(f"  and {len(withdrawn) - _SHOWN} more; --json names them all")
    return lines


def _withdrawn(backends: Backends, release: Release) -> list[dict[str, str]]:
    """Its withdrawn episodes, when and why each was."""
    keys = backends.releases.withdrawn(release)
    meant = set(keys)
    said = {item.key: item for item in backends.withdrawals.items() if item.key in meant}
    return [
        {
            "host_id": key.host_id,
            "episode_id": key.episode_id,
            "withdrawn_at_wall": said[key].at_wall,
            "why": said[key].why,
        }
        for key in keys
        if key in said
    ]

"""``cis490-receiver release diff``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import click

from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.release.named import opened
from cis490_receiver.commands.shared import parse_release, use_episodes
from cis490_receiver.config import load
from cis490_receiver.upkeep.release_diff import Difference, differences

_SHOWN: Final = 20
_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~"}


@click.command(
    "diff", short_help="Compare two releases.", epilog=example("cis490-receiver release diff 2026-11 paper-1")
)
@click.argument("first", metavar="A", callback=parse_release)
@click.argument("second", metavar="B", callback=parse_release)
@json_option
def command(first: str, second: str, as_json: bool) -> None:
    """Tell which episodes the release B has that A has not, and the other way round, and which are others.

    Exit status 0, whether they differ or not.
    """
    backends = use_episodes(load())
    old, new = opened(backends, first), opened(backends, second)
    with old.stream, new.stream:
        counts: Counter[str] = Counter()
        shown: list[Difference] = []
        for one in differences(old.stream, new.stream):
            counts[one.kind] += 1
            if len(shown) < _SHOWN:
                shown.append(one)
        if as_json:
            # Read again, now that nothing can go wrong: they may be too many for memory.
            old.stream.seek(0)
            new.stream.seek(0)
            summary = {"first": first, "second": second} | {kind: counts[kind] for kind in _SIGNS}
            _print_json(summary, differences(old.stream, new.stream))
            return
    click.echo(f"{counts['added']} added, {counts['removed']} removed, {counts['changed']} changed")
    for one in shown:
        told = f": {', '.join(one.fields)}" if one.fields else ""
        click.echo(f"{_SIGNS[one.kind]} {one.episode.key}{told}")
    if counts.total() > len(shown):
        click.echo(f"  and {counts.total() - len(shown)} more; --json names them all")


def _print_json(summary: dict[str, Any], found: Iterator[Difference]) -> None:
    """One object, whose list is written as it is read."""
    click.echo(json.dumps(summary)[:-1] + ', "differences": [', nl=False)
    for place, one in enumerate(found):
        click.echo((",\n " if place else "\n ") + json.dumps(_as_dict(one)), nl=False)
    click.echo("]}")


def _as_dict(one: Difference) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "host_id": one.episode.host_id,
        "episode_id": one.episode.episode_id,
        "old_sha256": one.old.sha256 if one.old else None,
        "new_sha256": one.new.sha256 if one.new else None,
        "fields": one.fields,
    }

"""``cis490-receiver collect``: take away what uploads that failed left in the object store."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from cis490_receiver import logfmt, page, times
from cis490_receiver.commandline.failures import fail
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.shared import use_episodes
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ReceiverError

#: How many orphans are named.
_NAMED: Final = 20


@click.command("collect", epilog=example("cis490-receiver collect --older-than 2d"))
@click.option(
    "--older-than",
    metavar="TIME",
    help="Only what was begun so long ago, such as 2d or 36h; default: twice the longest upload.",
)
@click.option("--orphans", is_flag=True, help="List the objects of which nothing is known; delete nothing.")
@json_option
def command(older_than: str | None, orphans: bool, as_json: bool) -> None:
    """Delete the objects of uploads that never became an episode, of receivers on many machines.

    Run it once a day on any machine, or on all of them: of several at once one works. An upload that is slower than
    --older-than fails, and its sender sends it again; so no time shorter than the longest upload is taken.

    With --orphans, list the objects that no row of the database knows, as after it was restored from a backup: they may
    be all that is left of an episode, so nothing deletes them. Exit status 1: there are some, or something could not be
    deleted.
    """
    settings = load()
    if not settings.is_cluster:
        done: dict[str, Any] = {"deleted": 0, "failed": 0}
        click.echo(json.dumps(done) if as_json else "nothing to collect: one machine tidies up by itself")
        return
    logfmt.configure("error" if as_json else settings.log_level)
    seconds = _patience(settings, older_than)
    try:
        if orphans:
            _list(settings, seconds, as_json)
        else:
            _collect(settings, seconds, as_json)
    except ReceiverError as exc:
        fail("stopped, and what is left is collected by the next run", exc)


def _patience(settings: Settings, older_than: str | None) -> int:
    longest = settings.longest_upload_seconds
    if older_than is None:
        return max(2 * longest, 86400)
    try:
        seconds = int(times.parse_span(older_than).total_seconds())
    except ValueError as exc:
        raise click.UsageError(f"--older-than: {exc}") from None
    if seconds < longest:
        raise click.UsageError(
            f"--older-than: an upload may take {longest // 3600 + 1}h (body_max_seconds, and completing it), and would "
            "be broken off; give at least that"
        )
    return seconds


def _collect(settings: Settings, seconds: int, as_json: bool) -> None:
    from cis490_receiver.postgres.locks import lock_or_none
    from cis490_receiver.upkeep.collect import collect, collect_pieces, collect_tables

    backends = use_episodes(settings)
    cluster = backends.cluster
    assert cluster is not None
    with lock_or_none(cluster.database, "collect") as lock:
        if lock is None:
            click.echo(
                json.dumps({"deleted": 0, "failed": 0, "idle": True})
                if as_json
                else "another machine is at it"
            )
            return
        before_ns = cluster.placements.now_ns() - seconds * 10**9
        done = [
            collect(cluster.client, cluster.placements, before_ns=before_ns),
            collect_pieces(cluster.client, cluster.pieces, older_than_seconds=seconds),
            collect_tables(cluster.client, cluster.tables, older_than_seconds=seconds),
        ]
    deleted, failed = sum(one.deleted for one in done), sum(one.failed for one in done)
    if as_json:
        click.echo(json.dumps({"deleted": deleted, "failed": failed}))
    else:
        click.echo(f"{deleted} objects deleted" + (f", {failed} could not be" if failed else ""))
    raise SystemExit(1 if failed else 0)


def _list(settings: Settings, seconds: int, as_json: bool) -> None:
    from cis490_receiver.upkeep.collect import orphans

    cluster = use_episodes(settings).cluster
    assert cluster is not None
    before_ns = cluster.placements.now_ns() - seconds * 10**9
    found = list(orphans(cluster.client, cluster.placements, before_ns=before_ns))
    if as_json:
        listed = [{"object": one.object_key, "size_bytes": one.size_bytes} for one in found]
        click.echo(json.dumps({"orphans": listed}, indent=2))
    else:
        size = page.size(sum(one.size_bytes for one in found))
        click.echo(f"{len(found)} objects of which nothing is known, {size}")
        for one in found[:_NAMED]:
            click.echo(f"  {one.object_key}")
    raise SystemExit(1 if found else 0)

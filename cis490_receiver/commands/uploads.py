"""``cis490-receiver uploads``: the episodes that come in pieces and are not complete yet."""

from __future__ import annotations

import json
from typing import Final

import click

from cis490_receiver import page, protocol
from cis490_receiver.commandline.failures import Failure, fail
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.shared import use_episodes
from cis490_receiver.config import load
from cis490_receiver.errors import ReceiverError
from cis490_receiver.policy.gate import age_text
from cis490_receiver.resumable import Resumables
from cis490_receiver.storage.base.partials import PartialUpload
from cis490_receiver.upkeep.resuming import resumables_of

#: As much of an upload's id as nobody needs to type in full.
_ID_SHOWN: Final = 12


@click.command("uploads", epilog=example("cis490-receiver uploads"))
@click.option("--host", metavar="HOST", help="Only those of this host.")
@click.option("--discard", metavar="ID", help="End this upload; its host begins it anew.")
@json_option
def command(host: str | None, discard: str | None, as_json: bool) -> None:
    """List the uploads in pieces that are under way: episode, how much has come, since when nothing came, and when it
    is discarded if nothing more comes.

    Exit status 1: there is no such upload to be discarded, or a host is sending it right now.
    """
    if host is not None and not protocol.is_valid_id(host):
        raise click.UsageError(f"--host: {host!r} is no host id")
    settings = load()
    backends = use_episodes(settings)
    uploads = resumables_of(settings, backends, backends.clock)
    waiting = [
        state for state in uploads.partials.waiting() if host in (None, state.announced.upload.key.host_id)
    ]
    if discard is not None:
        _discard(uploads, waiting, discard, as_json)
        return
    waiting.sort(key=lambda state: (state.announced.upload.key, state.announced.at_ns))
    if as_json:
        click.echo(json.dumps({"uploads": [uploads.describe(state) for state in waiting]}, indent=2))
    elif not waiting:
        click.echo("no upload in pieces is under way" + (f" of {host}" if host else ""))
    else:
        click.echo(_table(uploads, waiting))


def _discard(uploads: Resumables, waiting: list[PartialUpload], said: str, as_json: bool) -> None:
    found = [state for state in waiting if said and state.upload_id.startswith(said.lower())]
    if len(found) != 1:
        what = "no upload under way has" if not found else f"{len(found)} uploads have"
        raise Failure(
            f"{what} an id that begins with {said!r}; cis490-receiver uploads lists them", "no-such-upload"
        )
    described = uploads.describe(found[0])
    try:
        uploads.discard(found[0])
    except ReceiverError as exc:
        fail(f"cannot discard the upload of {found[0].announced.upload.key}", exc)
    if as_json:
        click.echo(json.dumps({"discarded": described}, indent=2))
    else:
        click.echo(
            f"discarded {page.size(found[0].offset)} of {found[0].announced.upload.key}; its host begins it anew"
        )


def _table(uploads: Resumables, waiting: list[PartialUpload]) -> str:
    now_ns = uploads.clock.now_ns()
    lines: list[tuple[str, ...]] = [("episode", "sent", "of", "", "last byte", "discarded in", "id")]
    lines += [_row(state, now_ns, uploads.expires_ns(state)) for state in waiting]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _row(state: PartialUpload, now_ns: int, expires_ns: int) -> tuple[str, ...]:
    total = state.announced.size_bytes
    return (
        str(state.announced.upload.key),
        page.size(state.offset),
        page.size(total),
        f"{100 * state.offset // total if total else 100} %",
        f"{age_text(max(0, now_ns - state.touched_ns) / 1e9)} ago",
        age_text(max(0, expires_ns - now_ns) / 1e9),
        state.upload_id[:_ID_SHOWN],
    )

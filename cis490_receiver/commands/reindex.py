"""``cis490-receiver reindex``: make index.jsonl agree with the episodes on disk."""

from __future__ import annotations

import json
import logging
from typing import Any

import click

from cis490_receiver import logfmt
from cis490_receiver.commandline.failures import fail, interrupted
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commands.shared import use_episodes
from cis490_receiver.config import load
from cis490_receiver.errors import ReceiverError
from cis490_receiver.progress import on_standard_error
from cis490_receiver.upkeep.reindex import Outcome, Reindexer

log = logging.getLogger(__name__)


@click.command("reindex", epilog=example("cis490-receiver reindex --dry-run"))
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), help="How many files to hash at once; default: the cores."
)
@quiet_option
@json_option
def command(dry_run: bool, jobs: int | None, quiet: bool, as_json: bool) -> None:
    """Make index.jsonl agree with the episodes on disk, while the receiver goes on.

    Good lines are kept as they are. An episode without a line gets one, from its bytes and the meta.json in
    it. A line without an episode is moved to index-set-aside.jsonl. All of it is swapped in at once;
    interrupted at any point, the old index stays. Exit status 1: an episode is damaged (its size is not its
    line's) or cannot be read, or with --dry-run, something would change.
    """
    settings = load()
    backends = use_episodes(settings)
    logfmt.configure("error" if as_json else settings.log_level)
    store, index = backends.store, backends.index
    try:
        with on_standard_error(quiet=quiet) as progress:
            reindexer = Reindexer(index.renewal(backends.clock), store, jobs=jobs, progress=progress)
            outcome = reindexer.look() if dry_run else reindexer.run()
    except (ReceiverError, OSError) as exc:
        fail("failed, the index is as it was", exc)
    except KeyboardInterrupt:
        raise interrupted("interrupted, the index is as it was") from None
    click.echo(json.dumps(_as_dict(outcome, dry_run), indent=2) if as_json else _as_text(outcome, dry_run))
    wrong = outcome.damaged or outcome.unreadable or (dry_run and outcome.changes)
    raise SystemExit(1 if wrong else 0)


def _as_dict(outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    return {
        "kept": outcome.kept,
        "rebuilt": outcome.rebuilt,
        "set_aside": outcome.set_aside,
        "damaged": [str(key) for key in outcome.damaged],
        "unreadable": [str(key) for key in outcome.unreadable],
        "swapped": outcome.changes > 0 and not dry_run,
    }


def _as_text(outcome: Outcome, dry_run: bool) -> str:
    done = f"{outcome.kept} lines kept, {outcome.rebuilt} rebuilt, {outcome.set_aside} set aside"
    lines = [f"{done}, {len(outcome.damaged)} episodes damaged"]
    lines += [f"  damaged: {key} is not as long as its line says" for key in outcome.damaged[:20]]
    lines += [f"  unreadable: {key}" for key in outcome.unreadable[:20]]
    if outcome.damaged:
        lines.append("  `cis490-receiver verify --quarantine` moves damaged episodes out of the way")
    if not outcome.changes:
        lines.append("the index agrees with the disk; nothing was changed")
    elif dry_run:
        lines.append("nothing was changed (dry run)")
    return "\n".join(lines)

"""``cis490-receiver gate-refresh``: read the allow-list from git into gate.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import click

from cis490_receiver.commandline.failures import EXIT_FOUND, EXIT_USAGE, Failure
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.commands.shared import use_place
from cis490_receiver.config import load
from cis490_receiver.errors import ConfigError, ReceiverError
from cis490_receiver.git.failures import GitConfigError
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot
from cis490_receiver.upkeep.gate_clone import GateClone, read_snapshot


@dataclass(frozen=True, slots=True)
class Change:
    """A new snapshot, and how its window differs from the one before."""

    snapshot: GateSnapshot
    entered: tuple[GateCommit, ...]
    left: tuple[GateCommit, ...]


def compare(old: GateSnapshot | None, new: GateSnapshot) -> Change:
    """What entered the window and what left it."""
    before = old.commits if old else ()
    was = {item.commit for item in before}
    now = {item.commit for item in new.commits}
    return Change(
        new,
        tuple(item for item in new.commits if item.commit not in was),
        tuple(item for item in before if item.commit not in now),
    )


@click.command("gate-refresh", epilog=example("cis490-receiver gate-refresh --fetch"))
@click.option("--fetch/--no-fetch", help="Run `git fetch` first.")
@click.option("--dry-run", is_flag=True, help="Say what would change; write nothing.")
@json_option
def command(fetch: bool, dry_run: bool, as_json: bool) -> None:
    """Read the accepted commits from git into gate.json.

    Takes the last `gate_window` commits of `gate_ref` in the clone `gate_repo`. Running receivers take the
    new list up within a second. When anything fails the old list stays in force; exit status 2 means that
    a person has to mend something, 1 that the next run may succeed.
    """
    settings = load()
    if settings.gate_repo is None:
        raise ConfigError("gate_repo is not set; name the clone of the orchestrator in gate_repo")
    backends = use_place(settings)
    gate_list = backends.gate_list
    clone = GateClone(settings.gate_repo)
    try:
        new = read_snapshot(clone, settings.gate_ref, settings.gate_window, backends.clock, fetch=fetch)
        change = compare(gate_list.read(), new)
        if not dry_run:
            gate_list.replace(new)
    except ReceiverError as exc:
        status = EXIT_USAGE if isinstance(exc, GitConfigError | ConfigError) else EXIT_FOUND
        raise Failure(f"{exc.message}; the list in force stays", exc.code, status) from exc
    click.echo(json.dumps(_as_dict(change, dry_run), indent=2) if as_json else _as_text(change, dry_run))


def _as_dict(change: Change, dry_run: bool) -> dict[str, Any]:
    snapshot = change.snapshot
    return {
        "ref": snapshot.ref,
        "head": snapshot.head,
        "window": snapshot.window,
        "accepted": len(snapshot.commits),
        "entered": [item.commit for item in change.entered],
        "left": [item.commit for item in change.left],
        "written": not dry_run,
    }


def _as_text(change: Change, dry_run: bool) -> str:
    snapshot = change.snapshot
    state = "not written (dry run)" if dry_run else "written"
    lines = [f"{snapshot.ref} at {snapshot.head[:12]}: {len(snapshot.commits)} commits accepted, {state}"]
    lines += [f"  + {one_line(item)}" for item in change.entered]
    lines += [f"  - {one_line(item)}" for item in change.left]
    if not change.entered and not change.left:
        lines.append("  no change")
    return "\n".join(lines)


def one_line(item: GateCommit) -> str:
    """A commit for a terminal: what its author wrote cannot move the cursor."""
    subject = "".join(c if c.isprintable() else "?" for c in item.subject)
    return f"{item.commit[:12]} {item.date[:10]} {subject[:80]}"

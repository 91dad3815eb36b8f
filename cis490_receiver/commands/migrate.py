"""``cis490-receiver migrate``: move everything to a cluster, or back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from cis490_receiver import logfmt, page
from cis490_receiver.clock import SystemClock
from cis490_receiver.commandline.failures import Failure, interrupted, reason
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.config import Settings, load
from cis490_receiver.errors import ConfigError, ReceiverError
from cis490_receiver.progress import Progress, on_standard_error
from cis490_receiver.upkeep.migrate.move import AlreadyMoved, Finished, LeftBehind, Move

#: How many episodes that are left behind are named.
_NAMED: Final = 20
_HOUR_NS: Final = 3600 * 10**9
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)


@click.command("migrate", epilog=example("cis490-receiver migrate --from /var/lib/cis490 --finish"))
@click.option("--from", "source", type=_FOLDER, metavar="FOLDER", help="Move FOLDER to the cluster.")
@click.option("--to", "target", type=_FOLDER, metavar="FOLDER", help="Move the cluster back to FOLDER.")
@click.option("--finish", is_flag=True, help="Switch over, as soon as the receiver is stopped.")
@click.option("--give-up", is_flag=True, help="After --finish was interrupted: go on where everything was.")
@click.option("--leave-behind", is_flag=True, help="Finish although some episodes cannot be copied.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.IntRange(0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long --finish waits for the receiver to be stopped.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Copy so many at once."
)
@quiet_option
@json_option
def command(
    source: Path | None,
    target: Path | None,
    finish: bool,
    give_up: bool,
    leave_behind: bool,
    wait_seconds: int,
    jobs: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Move everything that a receiver keeps from a data folder to the cluster that database_url and objects_url name,
    or back.

    Without --finish, copy and verify what there is, while the receiver goes on. Run it as often as you like: it goes on
    where it was. With --finish, copy what is missing, wait until the receiver is stopped, copy the rest, compare, and
    switch over: from then on only receivers at the new place start. Followers of the index go on where they were.

    The old place stays as it is, closed. Exit status 1: not everything could be copied.
    """
    if (source is None) == (target is None):
        raise click.UsageError("give --from FOLDER, or --to FOLDER to move back")
    if give_up and (finish or leave_behind):
        raise click.UsageError("give --finish or --give-up, not both")
    settings = load()
    if not settings.is_cluster:
        raise ConfigError(
            "database_url and objects_url are not set; name the cluster in them, and the folder in --from or --to"
        )
    logfmt.configure("error" if as_json else "warning")
    with _failures_told(finish), on_standard_error(quiet=quiet) as progress:
        move = _move(settings, source, target, jobs, progress)
        if give_up:
            move.give_up()
            click.echo(
                json.dumps({"given_up": True}) if as_json else "given up: the receiver can be started again"
            )
            return
        move.copy()
        finished = None
        if finish:
            finished = move.finish(_say, wait_seconds=wait_seconds, leave=leave_behind)
    _print(move, finished, as_json)
    raise SystemExit(1 if move.copying.left else 0)


def _move(
    settings: Settings, source: Path | None, target: Path | None, jobs: int, progress: Progress
) -> Move:
    # What a cluster needs is imported only here.
    from cis490_receiver.backends import needs_extra

    with needs_extra():
        from cis490_receiver.backends.moving.ends import ends

    clock = SystemClock()
    origin, destination = ends(settings, source, target, clock)
    since_ns = clock.now_ns() - settings.lookback_hours * _HOUR_NS
    return Move(origin, destination, clock, jobs=jobs, refusals_since_ns=since_ns, progress=progress)


@contextlib.contextmanager
def _failures_told(finish: bool) -> Iterator[None]:
    again = "run it again to go on"
    try:
        yield
    except AlreadyMoved as exc:
        raise Failure(exc.message, exc.code) from exc
    except LeftBehind as exc:
        raise Failure(
            f"not switched over: {exc.message}; `cis490-receiver verify` tells more of them, and --leave-behind leaves "
            "them where they are",
            exc.code,
        ) from exc
    except ConfigError:
        raise
    except (ReceiverError, OSError) as exc:
        code = exc.code if isinstance(exc, ReceiverError) else "storage-failed"
        undo = ", or with --give-up" if finish else ""
        raise Failure(f"stopped: {reason(exc)}; {again}{undo}", code) from exc
    except KeyboardInterrupt:
        raise interrupted(f"interrupted; {again}") from None


def _say(users: str) -> None:
    page.say(f"everything is copied; stop the receiver and its timers to go on: {users}", label="", err=True)


def _print(move: Move, finished: Finished | None, as_json: bool) -> None:
    copying = move.copying
    left = [{"episode": str(key), "why": why} for key, why in copying.left.items()]
    if as_json:
        data: dict[str, Any] = {
            "copied": copying.episodes,
            "copied_bytes": copying.size_bytes,
            "index_bytes": copying.compared.size_bytes,
            "index_lines": copying.compared.lines,
            "index_sha256": copying.compared.sha256,
            "left_behind": left,
            "finished": finished is not None,
        }
        if finished is not None:
            data |= {"episodes": finished.episodes, "stopped_seconds": round(finished.stopped_seconds, 2)}
        click.echo(json.dumps(data, indent=2))
        return
    compared = copying.compared
    click.echo(f"{copying.episodes} episodes copied, {page.size(copying.size_bytes)}, each verified")
    click.echo(f"{compared.lines} lines of the index are the same at both places, sha256 {compared.sha256}")
    for one in left[:_NAMED]:
        click.echo(f"  left behind: {one['episode']}: {one['why']}")
    if len(left) > _NAMED:
        click.echo(f"  and {len(left) - _NAMED} more; --json names them all")
    if finished is None:
        click.echo("the receiver goes on where it is; run this with --finish to switch over")
    else:
        click.echo(
            f"switched over with {finished.episodes} episodes; nothing was taken for {finished.stopped_seconds:.1f} s"
        )
        click.echo("start the receiver at the new place")

"""``cis490-receiver withdraw``: say which episodes are not to be trained on."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from cis490_receiver.commandline.failures import Failure
from cis490_receiver.commandline.options import example, json_option, quiet_option
from cis490_receiver.commands.filters import chosen, filter_options
from cis490_receiver.commands.shared import use_index
from cis490_receiver.config import load
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex
from cis490_receiver.models import Episode, EpisodeKey, wall_time
from cis490_receiver.progress import on_standard_error
from cis490_receiver.withdrawal import WHY_LIMIT, Withdrawal

_HOSTS_SHOWN: Final = 20
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The episodes that a run is about."""

    episodes: Sequence[Episode]

    def hosts(self) -> list[tuple[str, int, int]]:
        """Host, episodes and bytes, the host with the most episodes first."""
        count = Counter(episode.host_id for episode in self.episodes)
        size: Counter[str] = Counter()
        for episode in self.episodes:
            size[episode.host_id] += episode.size_bytes
        return [(host, episodes, size[host]) for host, episodes in count.most_common()]


@click.command(
    "withdraw",
    epilog=example('cis490-receiver withdraw --host lab-07 --since 7d --why "its clock was wrong" --dry-run'),
)
@click.argument("names", nargs=-1, metavar="[HOST/EPISODE]...")
@filter_options
@click.option("--why", help="Why, for whoever trains on the data.")
@click.option("--undo", is_flag=True, help="Take the withdrawal of these episodes back.")
@click.option("--dry-run", is_flag=True, help="Only tell which episodes it would be.")
@quiet_option
@json_option
def command(
    names: tuple[str, ...],
    why: str | None,
    undo: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Take episodes out of the training set, by name or by filters.

    Nothing is deleted: listings, mirrors and exports leave them out from their next look on, and --undo brings them
    back. All of them are withdrawn in one step.
    """
    given.pop("withdrawn", None)
    filters = chosen(given)
    if not names and filters == Filters():
        raise click.UsageError(
            "name episodes as HOST/EPISODE, or choose them by --commit, --host, --since and so on"
        )
    if names and filters != Filters():
        raise click.UsageError("give names or filters, not both")
    reason = _reason(why, needed=not (dry_run or undo))
    backends = use_index(load())
    index = backends.index
    with on_standard_error(quiet=quiet) as progress:
        index.tell_progress(progress)
        found = _Chosen(list(_named(index, names, undo) if names else _filtered(index, filters, undo)))
    if not dry_run and found.episodes:
        now_ns = backends.clock.now_ns()
        said_by = getpass.getuser()
        backends.withdrawals.append(
            [
                Withdrawal(
                    wall_time(now_ns), now_ns, episode.host_id, episode.episode_id, not undo, reason, said_by
                )
                for episode in found.episodes
            ]
        )
    _tell(found, undo=undo, dry_run=dry_run, as_json=as_json)


def _reason(why: str | None, *, needed: bool) -> str:
    text = (why or "").strip()
    if not text and needed:
        raise click.UsageError('say --why "…": who trains on the data will read it')
    if len(text) > WHY_LIMIT or not text.isprintable():
        raise click.UsageError(f"--why: one line of at most {WHY_LIMIT} characters")
    return text


def _named(index: EpisodeIndex, names: Iterable[str], undo: bool) -> Iterator[Episode]:
    unknown = []
    found = {}
    for name in names:
        host_id, _, episode_id = name.removesuffix(".tar.zst").partition("/")
        try:
            key = EpisodeKey(host_id, episode_id)
        except ValueError:
            raise click.UsageError(f"{name!r} is no HOST/EPISODE") from None
        episode = index.find(key)
        if episode is None:
            unknown.append(name)
        elif (index.withdrawal(key) is not None) == undo:
            found[key] = episode
    if unknown:
        raise Failure(f"not in the index: {', '.join(unknown[:10])}; nothing was changed", "not-found")
    yield from found.values()


def _filtered(index: EpisodeIndex, filters: Filters, undo: bool) -> Iterator[Episode]:
    """The episodes that pass and are not, or with `undo` are, withdrawn."""
    meant = filters.but(withdrawn="only" if undo else "exclude")
    cursor = None
    while True:
        page = index.page(meant, limit=_PAGE, cursor=cursor)
        yield from page.episodes
        if page.next is None:
            return
        cursor = page.next


def _tell(found: _Chosen, *, undo: bool, dry_run: bool, as_json: bool) -> None:
    size = sum(episode.size_bytes for episode in found.episodes)
    if as_json:
        hosts: list[dict[str, Any]] = [
            {"host_id": host, "episodes": episodes, "size_bytes": size}
            for host, episodes, size in found.hosts()
        ]
        done = {"undo": undo, "dry_run": dry_run, "episodes": len(found.episodes), "size_bytes": size}
        click.echo(json.dumps(done | {"hosts": hosts}))
        return
    verb = ("would be " if dry_run else "") + ("brought back" if undo else "withdrawn")
    many = "episode" if len(found.episodes) == 1 else "episodes"
    click.echo(f"{len(found.episodes)} {many}, {size / 1e9:.2f} GB, {verb}")
    for host, episodes, size in found.hosts()[:_HOSTS_SHOWN]:
        click.echo(f"  {host}: {episodes}, {size / 1e9:.2f} GB")
    if len(found.hosts()) > _HOSTS_SHOWN:
        click.echo(f"  and {len(found.hosts()) - _HOSTS_SHOWN} more hosts")
    if dry_run and found.episodes:
        click.echo(
            "Nothing was changed. Say it again without --dry-run" + (" and with --why." if not undo else ".")
        )

"""All that is kept beside episodes and their lines. Whatever is there already is left as it is, so this can be done
again, and the last time is when the origin is closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.index.base import Selection
from cis490_receiver.state.base.alerts import Alert, Key, Verdict
from cis490_receiver.state.base.tokens import Token
from cis490_receiver.upkeep.migrate.base import Kept

_PAGE: Final = 500
#: More alerts than these are not moved: the newest are.
MOST_ALERTS: Final = 100_000


def copy_releases(origin: Kept, destination: Kept) -> None:
    """Raises:
    ReceiverError: a release cannot be read, or not be written, or became another one.
    """
    there = {release.name: release for release in destination.releases.all()}
    for release in reversed(origin.releases.all()):
        if release.name not in there:
            opened = origin.releases.open(release.name)
            if opened is None:
                continue
            with opened.stream as stream:
                lines = Selection(iter(stream), release.episodes, release.episode_bytes, release.hosts)
                there[release.name] = destination.releases.create(release.name, lines, release.about)
        if there[release.name].sha256 != release.sha256:
            raise StorageFailed(
                f"the release {release.name} is another one there than here; run: cis490-receiver release verify "
                f"{release.name}"
            )


def copy_records(origin: Kept, destination: Kept, *, now_ns: int, since_ns: int) -> None:
    """All but releases. `since_ns`: from when on it counts who was refused; both in nanoseconds since the epoch.

    Raises:
        ReceiverError, OSError: something cannot be read or written.
    """
    _copy_withdrawals(origin, destination)
    _copy_notes(origin, destination, now_ns)
    _copy_memos(origin, destination)
    _copy_reports(origin, destination)
    if origin.tokens is not None and destination.tokens is not None:
        tokens = origin.tokens.all()
        destination.tokens.change(lambda before: _unless_same(before, tokens))
    known = set(destination.rejections.since(since_ns))
    facts = [fact for fact in origin.rejections.since(since_ns) if fact not in known]
    destination.rejections.take_over(facts[::-1])
    _copy_alerts(origin, destination, now_ns)


def _unless_same(before: Sequence[Token], tokens: Sequence[Token]) -> Sequence[Token]:
    return before if list(before) == list(tokens) else tokens


def _copy_withdrawals(origin: Kept, destination: Kept) -> None:
    ours, theirs = list(origin.withdrawals.items()), list(destination.withdrawals.items())
    if ours[: len(theirs)] != theirs:
        raise StorageFailed("other episodes were withdrawn there than here; begin with an empty destination")
    destination.withdrawals.append(ours[len(theirs) :])


def _copy_notes(origin: Kept, destination: Kept, now_ns: int) -> None:
    mutes = origin.mutes.active(now_ns)
    for host_id in destination.mutes.active(now_ns).keys() - mutes.keys():
        destination.mutes.end(host_id, now_ns)
    for mute in mutes.values():
        destination.mutes.set(mute, now_ns)
    retired = origin.retirements.all()
    for host_id in destination.retirements.all().keys() - retired.keys():
        destination.retirements.end(host_id)
    for retirement in retired.values():
        destination.retirements.set(retirement)


def _copy_memos(origin: Kept, destination: Kept) -> None:
    for ours, theirs in (
        (origin.faults, destination.faults),
        (origin.verify_place, destination.verify_place),
        (origin.release_verify_place, destination.release_verify_place),
    ):
        if (value := ours.read()) is not None:
            theirs.write(value)
    # The mark is of the index's generation, which comes along.
    destination.inspections.write(origin.inspections.read())
    if (snapshot := origin.gate_list.read()) is not None:
        destination.gate_list.replace(snapshot)


def _copy_reports(origin: Kept, destination: Kept) -> None:
    if origin.reports is None or destination.reports is None:
        return
    for report in origin.reports.all():
        destination.reports.take_over(report, origin.reports.history(report.host_id))


def _copy_alerts(origin: Kept, destination: Kept, now_ns: int) -> None:
    """Those that people were told of first, so that they are told of the others, and of no other, after the move."""
    untold: list[Alert] = []

    def remember(alerts: Sequence[Alert]) -> bool:
        untold.extend(alerts)
        return False

    origin.outbox.deliver(remember, after_ns=now_ns)
    alerts, lasting = _alerts(origin), origin.alerts.lasting()
    first_untold = len(alerts) - len(untold) if untold == alerts[len(alerts) - len(untold) :] else len(alerts)
    if _add_alerts(destination, alerts, first_untold, lasting) <= first_untold:
        destination.outbox.deliver(lambda told: True, after_ns=now_ns)
    _add_alerts(destination, alerts, len(alerts), lasting)


def _alerts(kept: Kept) -> list[Alert]:
    """The oldest first."""
    found: list[Alert] = []
    page = kept.alerts.page(limit=_PAGE, cursor=None)
    found += page.alerts
    while page.next is not None and len(found) < MOST_ALERTS:
        page = kept.alerts.page(limit=_PAGE, cursor=page.next)
        found += page.alerts
    return found[::-1]


def _add_alerts(kept: Kept, alerts: Sequence[Alert], count: int, lasting: Mapping[Key, str]) -> int:
    """Add those of the first `count` of `alerts` that are not there; gives how many of `alerts` were."""
    known = 0

    def judge(before: Mapping[Key, str], newest_first: Iterable[Alert]) -> Verdict:
        nonlocal known
        newest = next(iter(newest_first), None)
        if newest in alerts:
            known = len(alerts) - alerts[::-1].index(newest)
        return Verdict(tuple(alerts[known:count]), lasting)

    kept.alerts.update(judge)
    return known

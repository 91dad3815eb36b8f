"""What is known of one host: how it is, how it was, what it was told."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cis490_receiver.errors import NotFound
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import PastReport
from cis490_receiver.models import Episode, Rejection, Report, wall_time
from cis490_receiver.monitor.facts import HOUR_NS
from cis490_receiver.monitor.fix_yourself import Branch, branch_for
from cis490_receiver.monitor.watch import HostView, Watch

#: How many days of arrivals, episodes and refusals are told.
DAYS: Final = 30
EPISODES: Final = 25
REFUSALS: Final = 25
_DAY_NS: Final = 24 * HOUR_NS


@dataclass(frozen=True, slots=True)
class Change:
    """A report that says something else than the one before it: which checks failed that did not, and which no
    more."""

    received_at_wall: str
    received_at_ns: int
    failed: tuple[str, ...]
    mended: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """What came on one day (UTC)."""

    day: str
    episodes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStory:
    """Everything that is shown of a host. Lists are newest first, days oldest first."""

    now_ns: int
    view: HostView
    days: Sequence[Day]
    episodes: Sequence[Episode]
    refusals: Sequence[Rejection]
    report: Report | None
    changes: Sequence[Change]
    branch: Branch | None

    @property
    def checks(self) -> list[dict[str, str]]:
        """The checks of the latest report, as far as they can be understood."""
        found = self.report.doctor.get("checks") if self.report else None
        if isinstance(found, dict):
            found = [{"name": name} | check for name, check in found.items() if isinstance(check, dict)]
        items = [check for check in found if isinstance(check, dict)] if isinstance(found, list) else []
        return [_check(item) for item in items[:100]]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return self.view.as_dict() | {
            "at_wall": wall_time(self.now_ns),
            "arrivals_by_day": [asdict(day) for day in self.days],
            "recent_episodes": [episode.as_dict() for episode in self.episodes],
            "recent_refusals": [asdict(refusal) for refusal in self.refusals],
            "doctor": self.report.doctor if self.report else None,
            "doctor_received_at_wall": self.report.received_at_wall if self.report else None,
            "doctor_changes": [asdict(change) for change in self.changes],
            "fix_yourself": asdict(self.branch) if self.branch else None,
        }


def story_of(watch: Watch, host_id: str, now_ns: int) -> HostStory:
    """What is known of `host_id`.

    Raises:
        NotFound: nobody has ever seen such a host.
        ReceiverError: the facts cannot be read.
    """
    fleet = watch.fleet(now_ns)
    view = next((host for host in fleet.hosts if host.host_id == host_id), None)
    if view is None:
        raise NotFound("no such host was ever seen")
    refusals = _refusals(watch, host_id, now_ns)
    report = _report(watch, host_id)
    last = refusals[0] if refusals and view.facts.refusals else None
    return HostStory(
        now_ns=now_ns,
        view=view,
        days=_days(watch, host_id, now_ns),
        episodes=watch.index.page(Filters(host=host_id), limit=EPISODES, cursor=None).episodes,
        refusals=refusals,
        report=report,
        changes=changes_of(watch.reports.history(host_id)) if watch.reports else [],
        branch=branch_for(
            symptoms=view.symptoms,
            refusal=last.code if last else None,
            commit=last.code_commit if last else None,
            doctor=report.doctor if report else None,
            gate=fleet.receiver.gate,
        ),
    )


def changes_of(history: Sequence[PastReport]) -> list[Change]:
    """What changed from one report to the next, newest first, beginning with what the first one said."""
    before: tuple[str, ...] = ()
    changes = []
    for past in history:
        failed = tuple(name for name in past.failed if name not in before)
        mended = tuple(name for name in before if name not in past.failed)
        if failed or mended:
            changes.append(Change(past.received_at_wall, past.received_at_ns, failed, mended))
        before = past.failed
    return changes[::-1]


def _refusals(watch: Watch, host_id: str, now_ns: int) -> list[Rejection]:
    facts = watch.rejections.since(now_ns - DAYS * _DAY_NS)
    refused = (fact for fact in facts if fact.host_id == host_id and fact.status >= 400)
    found = list(itertools.islice(refused, REFUSALS))
    return sorted(found, key=lambda fact: fact.received_at_ns, reverse=True)


def _report(watch: Watch, host_id: str) -> Report | None:
    try:
        return watch.reports.get(host_id) if watch.reports else None
    except NotFound:
        return None


def _days(watch: Watch, host_id: str, now_ns: int) -> list[Day]:
    first = now_ns // _DAY_NS - (DAYS - 1)
    came = Filters(host=host_id, since=first * _DAY_NS, withdrawn="include")
    totals = watch.index.totals(came, ("day",), limit=DAYS + 1)
    by_day = {total.group["day"]: total for total in totals}
    days = []
    for number in range(first, first + DAYS):
        name = wall_time(number * _DAY_NS)[:10]
        total = by_day.get(name)
        days.append(Day(name, total.episodes if total else 0, total.size_bytes if total else 0))
    return days


def _check(item: dict[str, Any]) -> dict[str, str]:
    status = item.get("status")
    if not isinstance(status, str):
        status = {True: "ok", False: "fail"}.get(item.get("ok"), "unknown")  # type: ignore[arg-type]
    texts = {
        "name": item.get("name"),
        "status": status,
        "seen": item.get("seen"),
        "remedy": item.get("remedy"),
    }
    return {name: _printable(text) for name, text in texts.items()}


def _printable(text: object) -> str:
    shown = "" if text is None else str(text)[:500]
    return "".join(char if char.isprintable() else "?" for char in shown)

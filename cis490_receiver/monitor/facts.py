"""What the monitor's rules look at, gathered at one moment. Times are nanoseconds since the epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import EpisodeIndex, HostSummary, RejectionLog, ReportStore
from cis490_receiver.models import Rejection, Report, failed_checks
from cis490_receiver.monitor.presence import Presence
from cis490_receiver.state.base.gate_list import GateSnapshot
from cis490_receiver.state.base.inspections import Trouble
from cis490_receiver.state.base.notes import Retirement
from cis490_receiver.storage.base import EpisodeStore

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
#: Of most hosts, which may be very many.
_NONE: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What is known of one host. None where it never happened, or not within the look-back."""

    host_id: str
    first_stored_at_ns: int | None = None
    last_stored_at_ns: int | None = None
    last_code_commit: str | None = None
    #: The last PUT with a good token that was refused or repeated what is stored. Without one anybody could
    #: pass for the host's sign of life.
    last_other_at_ns: int | None = None
    #: Within the last `silent_after_minutes`: episodes stored or repeated, and refusals by error code.
    recent_good: int = 0
    recent_refusals: Mapping[str, int] = field(default_factory=dict)
    #: Of these refusals, those that were not the client's fault (5xx).
    recent_server_errors: int = 0
    first_recent_refusal_at_ns: int | None = None
    #: Episodes without a commit, stored or refused for that, within the last `silent_after_minutes`.
    recent_unstamped: int = 0
    #: The last upload that was refused for want of a commit.
    unstamped_refusal_at_ns: int | None = None
    last_refusal_code: str | None = None
    #: Refusals within the look-back, by error code.
    refusals: Mapping[str, int] = field(default_factory=dict)
    #: Stored, of all times.
    episodes: int = 0
    size_bytes: int = 0
    #: Of these, withdrawn.
    withdrawn: int = 0
    report_at_ns: int | None = None
    report_failed: tuple[str, ...] = ()
    #: What inspection found wrong with its episodes.
    troubles: tuple[Trouble, ...] = ()
    #: The retirement in force.
    retired: Retirement | None = None

    @property
    def last_seen_at_ns(self) -> int | None:
        """The last PUT of any outcome."""
        stored_ns, other_ns = self.last_stored_at_ns, self.last_other_at_ns
        if stored_ns is None or other_ns is None:
            return other_ns if stored_ns is None else stored_ns
        return max(stored_ns, other_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverFacts:
    """What is known of the receiver itself."""

    #: Infinite where space does not run out; None when it cannot be told.
    free_bytes: float | None
    #: None when the gate is off or its snapshot cannot be read.
    gate: GateSnapshot | None
    bad_lines: int
    #: Files that were moved out of the way because they are damaged.
    quarantined: int = 0
    #: Indexed.
    episodes: int = 0
    #: What was seen of them; None when nobody looked.
    presence: Presence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything, at `now_ns`."""

    now_ns: int
    hosts: tuple[HostFacts, ...]
    receiver: ReceiverFacts


def gather(
    *,
    now_ns: int,
    settings: Settings,
    index: EpisodeIndex,
    store: EpisodeStore,
    rejections: RejectionLog,
    reports: ReportStore | None,
    gate: GateSnapshot | None,
    quarantined: int = 0,
    retirements: Mapping[str, Retirement] = MappingProxyType({}),
    presence: Presence | None = None,
    troubles: Sequence[Trouble] = (),
) -> Facts:
    """Look at what was stored, refused and reported. Costs what there are hosts and recent refusals, not
    what there are episodes."""
    recent_ns = now_ns - settings.silent_after_minutes * MINUTE_NS
    summaries = {summary.host_id: summary for summary in index.hosts()}
    told = {report.host_id: report for report in reports.all()} if reports else {}
    others = _by_host(rejections.since(now_ns - settings.lookback_hours * HOUR_NS), summaries)
    unstamped = index.unstamped_since(recent_ns)
    found: dict[str, list[Trouble]] = {}
    for trouble in troubles:
        found.setdefault(trouble.host_id, []).append(trouble)
    hosts = [
        _host_facts(
            host_id,
            summaries.get(host_id),
            others.get(host_id, []),
            told.get(host_id),
            unstamped.get(host_id, 0),
            recent_ns,
            retirements.get(host_id),
            tuple(found.get(host_id, ())),
        )
        for host_id in sorted(summaries.keys() | others.keys() | told.keys())
    ]
    try:
        bound = store.free_bytes()
        free_bytes = math.inf if bound is None else bound
    except ReceiverError:
        free_bytes = None
    receiver = ReceiverFacts(
        free_bytes=free_bytes,
        gate=gate,
        bad_lines=index.bad_lines(),
        quarantined=quarantined,
        episodes=sum(summary.episodes for summary in summaries.values()),
        presence=presence,
    )
    return Facts(now_ns=now_ns, hosts=tuple(hosts), receiver=receiver)


def _by_host(facts: Iterable[Rejection], known: Mapping[str, HostSummary]) -> dict[str, list[Rejection]]:
    """Newest first. What came without a good token counts only for hosts that have shipped before, so that
    nobody can invent hosts without end."""
    found: dict[str, list[Rejection]] = {}
    for fact in facts:
        if fact.host_id is not None and (fact.authenticated or fact.host_id in known):
            found.setdefault(fact.host_id, []).append(fact)
    for of_host in found.values():
        of_host.sort(key=lambda fact: fact.received_at_ns, reverse=True)
    return found


def _time_of(report: Report) -> int | None:
    """When the report came; None when its file says no time that there is."""
    try:
        return report.received_at_ns
    except ValueError:
        return None


def _codes(refused: Sequence[Rejection]) -> Mapping[str, int]:
    """How many there are of each error code."""
    return Counter(fact.code for fact in refused) if refused else _NONE


def _host_facts(
    host_id: str,
    summary: HostSummary | None,
    others: list[Rejection],
    report: Report | None,
    unstamped: int,
    recent_ns: int,
    retirement: Retirement | None,
    troubles: tuple[Trouble, ...],
) -> HostFacts:
    recent = [fact for fact in others if fact.received_at_ns >= recent_ns]
    refused = [fact for fact in recent if fact.status >= 400]
    last_stored = summary.last_received_at_ns if summary else None
    stored_recently = last_stored is not None and last_stored >= recent_ns
    codes = _codes(refused)
    return HostFacts(
        host_id=host_id,
        first_stored_at_ns=summary.first_received_at_ns if summary else None,
        last_stored_at_ns=last_stored,
        last_code_commit=summary.last_code_commit if summary else None,
        last_other_at_ns=next((fact.received_at_ns for fact in others if fact.authenticated), None),
        recent_good=len(recent) - len(refused) + int(stored_recently),
        recent_refusals=codes,
        recent_server_errors=sum(fact.status >= 500 for fact in refused),
        first_recent_refusal_at_ns=refused[-1].received_at_ns if refused else None,
        recent_unstamped=unstamped + codes.get("missing-commit", 0),
        unstamped_refusal_at_ns=next(
            (fact.received_at_ns for fact in others if fact.code == "missing-commit"), None
        ),
        last_refusal_code=next((fact.code for fact in others if fact.status >= 400), None),
        refusals=_codes([fact for fact in others if fact.status >= 400]),
        episodes=summary.episodes if summary else 0,
        withdrawn=summary.withdrawn if summary else 0,
        size_bytes=summary.size_bytes if summary else 0,
        report_at_ns=_time_of(report) if report else None,
        report_failed=tuple(failed_checks(report.doctor)) if report else (),
        troubles=troubles,
        retired=retirement if retirement and retirement.holds(last_stored) else None,
    )

"""The fleet as it is now, gathered from everything that is known of it. Looking writes nothing.

It costs what there are hosts, recent refusals and recent episodes, never what there are episodes in all.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cis490_receiver.config import Settings
from cis490_receiver.errors import GateUnavailable
from cis490_receiver.filters import Filters
from cis490_receiver.index.base import EpisodeIndex, RejectionLog, ReportStore
from cis490_receiver.models import wall_time
from cis490_receiver.monitor import heartbeat, presence
from cis490_receiver.monitor.arrivals import HOURS, RecentArrivals
from cis490_receiver.monitor.facts import HOUR_NS, HostFacts, gather
from cis490_receiver.monitor.findings import Findings, symptom_dict
from cis490_receiver.monitor.health import RANK, Health, health_of
from cis490_receiver.monitor.symptoms import Symptom
from cis490_receiver.policy.gate import VersionGate
from cis490_receiver.state.base.gate_list import GateSnapshot
from cis490_receiver.state.base.inspections import Inspections
from cis490_receiver.state.base.marks import Heartbeat, Memo
from cis490_receiver.state.base.notes import Mute, Mutes, Retirements
from cis490_receiver.storage.base import EpisodeStore, Inventory

_DAY_NS: Final = 24 * HOUR_NS
_DAYS_TO_ACT: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """What is shown of a host."""

    facts: HostFacts
    health: Health
    symptoms: tuple[Symptom, ...]
    mute: Mute | None
    #: Of the commit that its last episode was recorded by; None where that cannot be told.
    commits_behind: int | None
    #: Episodes stored in each of the last `HOURS` hours, oldest first.
    arrivals: Sequence[int]

    @property
    def host_id(self) -> str:
        """Its name."""
        return self.facts.host_id

    @property
    def refused(self) -> int:
        """How many uploads were refused within the look-back."""
        return sum(self.facts.refusals.values())

    @property
    def commonest_refusal(self) -> str | None:
        """The error code that most of them had."""
        refusals = self.facts.refusals
        return max(sorted(refusals), key=refusals.__getitem__, default=None)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        retired = self.facts.retired
        return {
            "host_id": self.host_id,
            "health": self.health.name,
            "gravity": self.health.gravity,
            "health_since_wall": _wall(self.health.since_ns),
            "evidence": self.health.evidence or None,
            "remedy": self.health.remedy or None,
            "symptoms": [symptom_dict(symptom) for symptom in self.symptoms],
            "troubles": [asdict(trouble) for trouble in self.facts.troubles],
            "last_episode_wall": _wall(self.facts.last_stored_at_ns),
            "episodes": self.facts.episodes,
            "size_bytes": self.facts.size_bytes,
            "withdrawn": self.facts.withdrawn,
            "arrivals_by_hour": list(self.arrivals),
            "code_commit": self.facts.last_code_commit,
            "commits_behind": self.commits_behind,
            "refusals": dict(self.facts.refusals),
            "muted_until_wall": _wall(self.mute.until_ns) if self.mute else None,
            "muted_why": self.mute.why if self.mute else None,
            "retired_at_wall": _wall(retired.at_ns) if retired else None,
            "retired_why": retired.why if retired else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverView:
    """What is shown of the receiver itself. Ages in seconds, None where there is none."""

    #: Infinite where space does not run out; None when it cannot be told.
    free_bytes: float | None
    reserve_bytes: int
    #: Stored in the last 24 h.
    day_episodes: int
    #: At the rate of the last seven days.
    bytes_per_day: int
    gate_enabled: bool
    gate: GateSnapshot | None
    gate_age_seconds: float | None
    monitor_age_seconds: float | None
    symptoms: tuple[Symptom, ...]

    @property
    def days_until_full(self) -> float | None:
        """When the reserve is reached at this rate; None where nothing comes."""
        if self.free_bytes is None or self.has_no_end or not self.bytes_per_day:
            return None
        return max(0.0, (self.free_bytes - self.reserve_bytes) / self.bytes_per_day)

    @property
    def has_no_end(self) -> bool:
        """Whether space does not run out."""
        return self.free_bytes is not None and math.isinf(self.free_bytes)

    @property
    def is_filling(self) -> bool:
        """Whether somebody should see to the disk: it is low, or will be within three days."""
        days = self.days_until_full
        low = self.free_bytes is None or self.free_bytes < 2 * self.reserve_bytes
        return low or (days is not None and days < _DAYS_TO_ACT)

    @property
    def is_monitored(self) -> bool:
        """Whether the fleet monitor runs."""
        return self.monitor_age_seconds is not None and self.monitor_age_seconds <= heartbeat.STALE_SECONDS

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        days = self.days_until_full
        gate = self.gate
        return {
            "free_bytes": None if self.has_no_end else self.free_bytes,
            "reserve_bytes": self.reserve_bytes,
            "days_until_full": None if days is None else round(days, 1),
            "episodes_last_24_h": self.day_episodes,
            "bytes_per_day": self.bytes_per_day,
            "gate_enabled": self.gate_enabled,
            "gate_head": gate.head if gate else None,
            "gate_commits": len(gate.commits) if gate else None,
            "gate_age_seconds": _rounded(self.gate_age_seconds),
            "health_check_age_seconds": _rounded(self.monitor_age_seconds),
            "symptoms": [symptom_dict(symptom) for symptom in self.symptoms],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """What is shown of everything."""

    findings: Findings
    receiver: ReceiverView
    #: The sickest first, then by name.
    hosts: tuple[HostView, ...]

    @property
    def now_ns(self) -> int:
        """The moment that it shows."""
        return self.findings.facts.now_ns

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "at_wall": wall_time(self.now_ns),
            "receiver": self.receiver.as_dict(),
            "hosts": [host.as_dict() for host in self.hosts],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Where the fleet is looked at from."""

    settings: Settings
    store: EpisodeStore
    inventory: Inventory
    index: EpisodeIndex
    arrivals: RecentArrivals
    rejections: RejectionLog
    reports: ReportStore | None
    mutes: Mutes
    retirements: Retirements
    heartbeat: Heartbeat
    #: What the last health-check found wrong with episodes.
    faults: Memo
    inspections: Inspections
    gate: VersionGate | None

    def findings(self, now_ns: int) -> Findings:
        """What `health-check` would find now, but for episodes that it would look at by chance.

        Raises:
            ReceiverError: the facts cannot be read.
        """
        glance = presence.look(
            self.index,
            self.inventory,
            presence.recall(self.faults),
            now_ns=now_ns,
            choose=random.Random(0),  # noqa: S311
            monotonic=time.monotonic,
            limits=presence.GLANCE,
        )
        facts = gather(
            now_ns=now_ns,
            settings=self.settings,
            index=self.index,
            store=self.store,
            rejections=self.rejections,
            reports=self.reports,
            gate=self._snapshot(),
            quarantined=self.inventory.quarantined(),
            retirements=self.retirements.all(),
            presence=glance,
            troubles=self.inspections.read().troubles,
        )
        return Findings.of(facts, self.settings, self.mutes.active(now_ns))

    def fleet(self, now_ns: int) -> FleetView:
        """Everything.

        Raises:
            ReceiverError: the facts cannot be read.
        """
        findings = self.findings(now_ns)
        gate = findings.facts.receiver.gate
        behind = _positions(gate)
        arrivals = self.arrivals.by_hour(now_ns)
        symptoms: dict[str | None, list[Symptom]] = {}
        for symptom in findings.symptoms:
            symptoms.setdefault(symptom.host_id, []).append(symptom)
        hosts = [
            _view(host, symptoms.get(host.host_id, ()), findings.muted, behind, arrivals)
            for host in findings.facts.hosts
        ]
        hosts.sort(key=lambda host: (RANK[host.health.name], host.host_id))
        receiver = self._receiver(findings, sum(map(sum, arrivals.values())), symptoms.get(None, ()))
        return FleetView(findings=findings, receiver=receiver, hosts=tuple(hosts))

    def _receiver(self, findings: Findings, day_episodes: int, symptoms: Sequence[Symptom]) -> ReceiverView:
        facts = findings.facts
        gate = facts.receiver.gate
        return ReceiverView(
            free_bytes=facts.receiver.free_bytes,
            reserve_bytes=self.settings.disk_reserve_bytes,
            day_episodes=day_episodes,
            bytes_per_day=self._bytes_per_day(findings),
            gate_enabled=self.settings.gate_enabled,
            gate=gate,
            gate_age_seconds=gate.age_seconds(facts.now_ns) if gate else None,
            monitor_age_seconds=heartbeat.age_seconds(self.heartbeat, facts.now_ns),
            symptoms=tuple(symptoms),
        )

    def _bytes_per_day(self, findings: Findings) -> int:
        now_ns = findings.facts.now_ns
        since_ns = (now_ns // _DAY_NS - 6) * _DAY_NS
        stored = self.index.totals(Filters(since=since_ns).or_withdrawn(), (), limit=1)
        first_ns = min((host.first_stored_at_ns or now_ns for host in findings.facts.hosts), default=now_ns)
        elapsed_ns = max(now_ns - max(since_ns, first_ns), HOUR_NS)
        return sum(total.size_bytes for total in stored) * _DAY_NS // elapsed_ns

    def _snapshot(self) -> GateSnapshot | None:
        try:
            return self.gate.snapshot() if self.gate else None
        except GateUnavailable:
            return None


def _view(
    facts: HostFacts,
    symptoms: Sequence[Symptom],
    muted: Mapping[str, Mute],
    behind: Mapping[str, int],
    arrivals: Mapping[str, Sequence[int]],
) -> HostView:
    mute = muted.get(facts.host_id)
    return HostView(
        facts=facts,
        health=health_of(facts, symptoms, mute),
        symptoms=tuple(symptoms),
        mute=mute,
        commits_behind=behind.get(facts.last_code_commit or ""),
        arrivals=arrivals.get(facts.host_id, (0,) * HOURS),
    )


def _positions(gate: GateSnapshot | None) -> dict[str, int]:
    """How many commits each of the branch's commits is behind its head."""
    if gate is None:
        return {}
    ids = [*(item.commit for item in gate.commits), *gate.older]
    return {commit: place for place, commit in enumerate(ids)}


def _wall(ns: int | None) -> str | None:
    return None if ns is None else wall_time(ns)


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)

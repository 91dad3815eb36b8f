"""The rules: pure functions from facts, a moment and settings to what is wrong.

A duration is exceeded when it is longer than the limit: at exactly 30 minutes a host is not yet silent. Something
is within the look-back when it is no older than it. Facts from the future (a clock that was set back) are as
good as new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.monitor.facts import HOUR_NS, MINUTE_NS, Facts, HostFacts, ReceiverFacts
from cis490_receiver.policy.gate import age_text

SILENT: Final = "silent"
FATAL_ONLY: Final = "fatal-only"
UNSTAMPED: Final = "unstamped"
DOCTOR_FAILING: Final = "doctor-failing"
DOCTOR_STALE: Final = "doctor-stale"
COMMIT_AGING: Final = "commit-aging"
DISK_LOW: Final = "disk-low"
GATE_STALE: Final = "gate-stale"
INDEX_DAMAGED: Final = "index-damaged"
#: What a host is told of only as long as it is watched: that it is not seen any more does not mean that it ended.
WHILE_WATCHED: Final = frozenset({SILENT, UNSTAMPED, DOCTOR_STALE, COMMIT_AGING})


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something that a person should look at."""

    #: None for the receiver itself.
    host_id: str | None
    name: str
    #: Since when it is so, nanoseconds since the epoch.
    since_ns: int
    evidence: str
    remedy: str

    @property
    def key(self) -> tuple[str | None, str]:
        """What makes two sightings the same."""
        return self.host_id, self.name


def diagnose(facts: Facts, settings: Settings) -> list[Symptom]:
    """Every symptom that `facts` show, the receiver's own first."""
    found = list(_receiver_symptoms(facts.receiver, facts.now_ns, settings))
    for host in facts.hosts:
        found += _host_symptoms(host, facts, settings)
    return found


def is_watched(host: HostFacts, now_ns: int, settings: Settings) -> bool:
    """Whether the host gave a sign of life within the look-back."""
    seen = host.last_seen_at_ns
    return seen is not None and now_ns - seen <= settings.lookback_hours * HOUR_NS


def _host_symptoms(host: HostFacts, facts: Facts, settings: Settings) -> Iterator[Symptom]:
    now_ns = facts.now_ns
    seen = host.last_seen_at_ns
    if seen is not None and is_watched(host, now_ns, settings):
        yield from _silent(host, seen, now_ns, settings)
        yield from _unstamped(host, seen, settings)
        yield from _doctor_stale(host, now_ns, settings)
        yield from _commit_aging(host, facts.receiver)
    yield from _fatal_only(host, settings)
    yield from _doctor_failing(host, now_ns, settings)


def _silent(host: HostFacts, seen_ns: int, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    quiet_ns = now_ns - seen_ns
    if quiet_ns > settings.silent_after_minutes * MINUTE_NS:
        yield Symptom(
            host.host_id,
            SILENT,
            seen_ns,
            f"no upload for {age_text(quiet_ns / 1e9)}",
            "is the host up, on WireGuard, its shipper running? On it: cis490-shipper --ping",
        )


def _fatal_only(host: HostFacts, settings: Settings) -> Iterator[Symptom]:
    refused = sum(host.recent_refusals.values())
    if not refused or host.recent_good or host.recent_server_errors:
        return
    codes = ", ".join(f"{count} x {code}" for code, count in sorted(host.recent_refusals.items()))
    yield Symptom(
        host.host_id,
        FATAL_ONLY,
        host.first_recent_refusal_at_ns or 0,
        f"every upload of the last {settings.silent_after_minutes} min refused: {codes}",
        _REFUSAL_REMEDY.get(host.last_refusal_code or "", "see the receiver's log for this host"),
    )


_REFUSAL_REMEDY: Final = {
    "commit-rejected": "its orchestrator is stale or local: FIXYOURSELF.md on the host",
    "missing-commit": "its orchestrator is too old to write code_commit into meta.json: FIXYOURSELF.md on the host",
    "malformed-commit": "code_commit in its meta.json is no commit id: FIXYOURSELF.md on the host",
    "host-mismatch": "its host_id is not the name that its certificate and token were made for: lab-host.toml there",
    "bad-bearer-token": "its token is wrong: compare the token file there with the receiver's",
    "missing-bearer-token": "it sends no token: is token_file set in its lab-host.toml?",
    "conflict": "it reuses episode ids for other bytes: look at its recorder",
    "sha-mismatch": "its files change while they are shipped, or its disk or link is bad",
    "episode-too-large": "its episodes exceed max_episode_bytes",
}


def _unstamped(host: HostFacts, seen_ns: int, settings: Settings) -> Iterator[Symptom]:
    latest = host.last_stored_at_ns is not None and host.last_code_commit is None
    latest = latest and host.last_stored_at_ns == seen_ns
    refused_ns = host.unstamped_refusal_at_ns
    # What was stored after it was stamped, or is the latest.
    latest = latest or (refused_ns is not None and refused_ns > (host.last_stored_at_ns or 0))
    if host.recent_unstamped or latest:
        count = host.recent_unstamped
        recently = f"{count} in the last {settings.silent_after_minutes} min" if count else "the latest one"
        yield Symptom(
            host.host_id,
            UNSTAMPED,
            seen_ns,
            f"uploads without X-Cis490-Code-Commit: {recently}",
            "update its orchestrator, which writes code_commit into meta.json: FIXYOURSELF.md on the host",
        )


def _doctor_failing(host: HostFacts, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    fresh_ns = settings.doctor_stale_hours * HOUR_NS
    if host.report_at_ns is not None and host.report_failed and now_ns - host.report_at_ns <= fresh_ns:
        shown = ", ".join(host.report_failed[:8]) + (" …" if len(host.report_failed) > 8 else "")
        yield Symptom(
            host.host_id,
            DOCTOR_FAILING,
            host.report_at_ns,
            f"failed checks: {shown}",
            "on the host, cis490-doctor says for each what to do",
        )


def _doctor_stale(host: HostFacts, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    if not settings.health_dir:
        return
    heard_ns = host.report_at_ns if host.report_at_ns is not None else host.first_stored_at_ns
    if heard_ns is not None and now_ns - heard_ns > settings.doctor_stale_hours * HOUR_NS:
        last = (
            "never one"
            if host.report_at_ns is None
            else f"the last {age_text((now_ns - heard_ns) / 1e9)} ago"
        )
        yield Symptom(
            host.host_id,
            DOCTOR_STALE,
            heard_ns,
            f"ships, but sends no doctor report ({last})",
            "on the host: systemctl status cis490-doctor-check.timer",
        )


def _commit_aging(host: HostFacts, receiver: ReceiverFacts) -> Iterator[Symptom]:
    gate = receiver.gate
    if gate is None or len(gate.commits) < gate.window or host.last_stored_at_ns is None:
        return
    # The oldest tenth of the window is about to leave it.
    first_aging = len(gate.commits) - max(1, len(gate.commits) // 10)
    for position, item in enumerate(gate.commits):
        if item.commit == host.last_code_commit and position >= first_aging > 0:
            yield Symptom(
                host.host_id,
                COMMIT_AGING,
                host.last_stored_at_ns,
                f"ships with {item.commit[:12]}, {position} of {len(gate.commits) - 1} commits behind",
                f"refused after {len(gate.commits) - position} more commits on {gate.ref}: update the host",
            )


def _receiver_symptoms(receiver: ReceiverFacts, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    free, reserve = receiver.free_bytes, settings.disk_reserve_bytes
    if free is None or free < 2 * reserve:
        shown = "cannot be told" if free is None else f"{free / 2**30:.1f} GiB"
        yield Symptom(
            None,
            DISK_LOW,
            now_ns,
            f"free space {shown}; uploads are refused below {reserve / 2**30:.1f} GiB",
            "move episodes to the archive or enlarge the disk",
        )
    if settings.gate_enabled:
        yield from _gate_stale(receiver, now_ns, settings)
    if receiver.bad_lines or receiver.quarantined:
        yield Symptom(
            None,
            INDEX_DAMAGED,
            now_ns,
            f"{receiver.bad_lines} lines of index.jsonl are no records; {receiver.quarantined} episodes quarantined",
            "run: cis490-receiver verify, then cis490-receiver reindex --dry-run",
        )


def _gate_stale(receiver: ReceiverFacts, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    gate = receiver.gate
    remedy = "run: cis490-receiver gate-refresh --fetch; then systemctl status cis490-gate-refresh.timer"
    if gate is None:
        yield Symptom(None, GATE_STALE, now_ns, "gate.json is missing or damaged", remedy)
    elif gate.age_seconds(now_ns) > settings.gate_max_age_hours * 3600:
        age = age_text(gate.age_seconds(now_ns))
        yield Symptom(None, GATE_STALE, gate.refreshed_at_ns, f"gate.json is {age} old", remedy)

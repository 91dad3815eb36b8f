"""The rules: pure functions from facts, a moment and settings to what is wrong.

A duration is exceeded when it is longer than the limit: at exactly 30 minutes a host is not yet silent. Something
is within the look-back when it is no older than it: a host is silent up to its last instant, and gone behind it.
Facts from the future (a clock that was set back) are as good as new ones, and the receiver's own affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.monitor.archive_diagnosis import archive_symptoms
from cis490_receiver.monitor.facts import HOUR_NS, MINUTE_NS, Facts, HostFacts, ReceiverFacts
from cis490_receiver.monitor.own_diagnosis import receiver_symptoms
from cis490_receiver.monitor.symptoms import (
    COMMIT_AGING,
    DOCTOR_FAILING,
    DOCTOR_STALE,
    FATAL_ONLY,
    GONE,
    SILENT,
    UNSTAMPED,
    Symptom,
)
from cis490_receiver.policy.gate import age_text


def diagnose(facts: Facts, settings: Settings) -> list[Symptom]:
    """Every symptom that `facts` show, the receiver's own first."""
    found = list(receiver_symptoms(facts, settings))
    for host in facts.hosts:
        found += _host_symptoms(host, facts, settings)
    return found


def is_watched(host: HostFacts, now_ns: int, settings: Settings) -> bool:
    """Whether the host gave a sign of life within the look-back."""
    seen = host.last_seen_at_ns
    return seen is not None and now_ns - seen <= settings.lookback_hours * HOUR_NS


def is_silent(host: HostFacts, now_ns: int, settings: Settings) -> bool:
    """Whether a host that is watched shows no sign of life any more."""
    seen, limit_ns = host.last_seen_at_ns, settings.silent_after_minutes * MINUTE_NS
    return seen is not None and is_watched(host, now_ns, settings) and now_ns - seen > limit_ns


def is_gone(host: HostFacts, now_ns: int, settings: Settings) -> bool:
    """Whether a host that shipped once has left the look-back."""
    return host.last_stored_at_ns is not None and not is_watched(host, now_ns, settings)


def _host_symptoms(host: HostFacts, facts: Facts, settings: Settings) -> Iterator[Symptom]:
    if host.retired:
        return
    now_ns = facts.now_ns
    seen = host.last_seen_at_ns
    if seen is not None and is_gone(host, now_ns, settings):
        yield _gone(host, seen, now_ns)
    if seen is not None and is_watched(host, now_ns, settings):
        yield from _silent(host, seen, now_ns, settings)
        yield from _unstamped(host, seen, settings)
        yield from _doctor_stale(host, now_ns, settings)
        yield from _commit_aging(host, facts.receiver)
    yield from _fatal_only(host, settings)
    yield from _doctor_failing(host, now_ns, settings)
    yield from archive_symptoms(host.host_id, host.troubles, now_ns, settings)


def _gone(host: HostFacts, seen_ns: int, now_ns: int) -> Symptom:
    return Symptom(
        host.host_id,
        GONE,
        seen_ns,
        f"no upload for {age_text((now_ns - seen_ns) / 1e9)}",
        "if it is away for good: cis490-receiver host retire HOST --why …; else is it up, on WireGuard, its "
        "shipper running? On it: cis490-shipper --ping",
    )


def _silent(host: HostFacts, seen_ns: int, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    quiet_ns = now_ns - seen_ns
    if is_silent(host, now_ns, settings):
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

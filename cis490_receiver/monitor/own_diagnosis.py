"""The rules for the receiver itself; see `diagnosis`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.models import EpisodeKey
from cis490_receiver.monitor.facts import MINUTE_NS, Facts, HostFacts, ReceiverFacts
from cis490_receiver.monitor.presence import Presence
from cis490_receiver.monitor.symptoms import (
    CLOCK_BEHIND,
    DISK_LOW,
    EPISODES_MISSING,
    EPISODES_UNINDEXED,
    GATE_STALE,
    INDEX_DAMAGED,
    Symptom,
)
from cis490_receiver.policy.gate import age_text

#: A clock that is mended by less is nobody's business.
_FUTURE_NS: Final = 5 * MINUTE_NS
_EXAMPLES: Final = 3


def receiver_symptoms(facts: Facts, settings: Settings) -> Iterator[Symptom]:
    """What ails the receiver."""
    receiver, now_ns = facts.receiver, facts.now_ns
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
    if receiver.presence is not None:
        yield from _episodes_missing(receiver.presence, now_ns)
        yield from _episodes_unindexed(receiver.presence, now_ns)
    yield from _clock_behind(facts)


def _episodes_missing(presence: Presence, now_ns: int) -> Iterator[Symptom]:
    faults = {
        "not there": presence.missing,
        "of another length than the index says": presence.other_length,
        "not to be looked at (file system errors)": presence.unseen,
    }
    seen = [f"{len(keys)} {what}" for what, keys in faults.items() if keys]
    if seen:
        yield Symptom(
            None,
            EPISODES_MISSING,
            now_ns,
            f"of {presence.looked} indexed episodes looked at, {', '.join(seen)}: "
            f"{_examples([key for keys in faults.values() for key in keys])}",
            "is the disk mounted, does dmesg show errors? cis490-receiver verify finds all of them; restore them from "
            "the backup; of what is lost for good, cis490-receiver reindex sets the lines aside",
        )


def _episodes_unindexed(presence: Presence, now_ns: int) -> Iterator[Symptom]:
    if presence.unindexed:
        yield Symptom(
            None,
            EPISODES_UNINDEXED,
            now_ns,
            f"stored, but not in index.jsonl, among a few files looked at: {len(presence.unindexed)}: "
            f"{_examples(presence.unindexed)}",
            "was index.jsonl lost, cut or rotated? cis490-receiver reindex makes the missing lines",
        )


def _examples(keys: Sequence[EpisodeKey]) -> str:
    return ", ".join(map(str, keys[:_EXAMPLES])) + (", …" if len(keys) > _EXAMPLES else "")


def _clock_behind(facts: Facts) -> Iterator[Symptom]:
    latest = {host.host_id: _latest(host) for host in facts.hosts if not host.retired}
    ahead = {name: ns - facts.now_ns for name, ns in latest.items() if ns - facts.now_ns > _FUTURE_NS}
    gate = facts.receiver.gate
    if gate is not None and gate.refreshed_at_ns - facts.now_ns > _FUTURE_NS:
        ahead["gate.json"] = gate.refreshed_at_ns - facts.now_ns
    if ahead:
        shown = ", ".join(sorted(ahead)[:_EXAMPLES]) + (", …" if len(ahead) > _EXAMPLES else "")
        yield Symptom(
            None,
            CLOCK_BEHIND,
            facts.now_ns,
            f"what is known of {len(ahead)} ({shown}) is dated up to {age_text(max(ahead.values()) / 1e9)} ahead of "
            "the clock",
            "is the clock right? timedatectl. If it is, it was wrong before: until that date these cannot be seen "
            "to be silent, gone or stale",
        )


def _latest(host: HostFacts) -> int:
    return max(host.last_seen_at_ns or 0, host.report_at_ns or 0)


def _gate_stale(receiver: ReceiverFacts, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    gate = receiver.gate
    remedy = "run: cis490-receiver gate-refresh --fetch; then systemctl status cis490-gate-refresh.timer"
    if gate is None:
        yield Symptom(None, GATE_STALE, now_ns, "gate.json is missing or damaged", remedy)
    elif gate.age_seconds(now_ns) > settings.gate_max_age_hours * 3600:
        age = age_text(gate.age_seconds(now_ns))
        yield Symptom(None, GATE_STALE, gate.refreshed_at_ns, f"gate.json is {age} old", remedy)

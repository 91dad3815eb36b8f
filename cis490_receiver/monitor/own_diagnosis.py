"""The rules for the receiver itself; see `diagnosis`."""

from __future__ import annotations

from collections.abc import Iterator

from cis490_receiver.config import Settings
from cis490_receiver.monitor.facts import ReceiverFacts
from cis490_receiver.monitor.symptoms import (
    DISK_LOW,
    GATE_STALE,
    INDEX_DAMAGED,
    Symptom,
)
from cis490_receiver.policy.gate import age_text


def receiver_symptoms(receiver: ReceiverFacts, now_ns: int, settings: Settings) -> Iterator[Symptom]:
    """What ails the receiver."""
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

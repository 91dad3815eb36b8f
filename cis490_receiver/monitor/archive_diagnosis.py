"""The rules for what inspection found in a host's episodes; see `diagnosis`.

A trouble is of now as long as an episode with it was found within the look-back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.monitor.symptoms import BAD_ARCHIVES, MISLABELLED, Symptom
from cis490_receiver.policy.gate import age_text
from cis490_receiver.state.base import inspections
from cis490_receiver.state.base.inspections import Trouble

_HOUR_NS: Final = 3600 * 10**9
_DETAIL: Final = 160


def archive_symptoms(
    host_id: str, troubles: Sequence[Trouble], now_ns: int, settings: Settings
) -> Iterator[Symptom]:
    """What ails the episodes of a host."""
    recent = {
        trouble.kind: trouble
        for trouble in troubles
        if now_ns - trouble.last_ns <= settings.lookback_hours * _HOUR_NS
    }
    bad = [recent[kind] for kind in (inspections.UNOPENABLE, inspections.CHANGED) if kind in recent]
    if bad:
        yield Symptom(
            host_id,
            BAD_ARCHIVES,
            min(trouble.since_ns for trouble in bad),
            "; ".join(f"{_EVIDENCE[trouble.kind]}: {_told(trouble, now_ns)}" for trouble in bad),
            "; ".join(_REMEDY[trouble.kind] for trouble in bad),
        )
    if (labels := recent.get(inspections.MISLABELLED)) is not None:
        yield Symptom(
            host_id,
            MISLABELLED,
            labels.since_ns,
            f"what its uploads and their meta.json say does not agree, or lacks something: {_told(labels, now_ns)}",
            "on the host: cis490-shipper check FILE says what meta.json lacks; its shipper must send what meta.json "
            "says; episodes that are no use as they are: cis490-receiver withdraw HOST/EPISODE --why …",
        )


_EVIDENCE: Final = {
    inspections.UNOPENABLE: "archives that do not open, and are withdrawn",
    inspections.CHANGED: "stored here, and not any more what was acknowledged, and withdrawn",
}
_REMEDY: Final = {
    inspections.UNOPENABLE: "on the host: look at what records and packs them, cis490-shipper check FILE; one that is "
    "good after all: cis490-receiver withdraw --undo HOST/EPISODE",
    inspections.CHANGED: "here: does dmesg show errors of the disk? Restore these files from the backup, then "
    "cis490-receiver withdraw --undo HOST/EPISODE",
}


def _told(trouble: Trouble, now_ns: int) -> str:
    examples = ", ".join(f"{one.episode_id} ({_cut(one.detail)})" for one in trouble.examples)
    rest = ", …" if trouble.count > len(trouble.examples) else ""
    age = age_text(max(0.0, (now_ns - trouble.last_ns) / 1e9))
    return f"{trouble.count}, the last one found {age} ago: {examples}{rest}"


def _cut(text: str) -> str:
    return text if len(text) <= _DETAIL else text[:_DETAIL] + "…"

"""How pages say numbers, times and states."""

from __future__ import annotations

from typing import Final

from cis490_receiver.models import wall_time
from cis490_receiver.monitor import symptoms
from cis490_receiver.monitor.health import FINE
from cis490_receiver.monitor.states import MUTED, NEVER_SHIPPED, RETIRED
from cis490_receiver.page import size
from cis490_receiver.policy.gate import age_text
from cis490_receiver.state.base import inspections

HEALTH: Final = {
    symptoms.FATAL_ONLY: "refused every time",
    symptoms.SILENT: "silent",
    symptoms.GONE: "gone",
    symptoms.UNSTAMPED: "unstamped",
    symptoms.DOCTOR_FAILING: "doctor failing",
    symptoms.DOCTOR_STALE: "no doctor report",
    symptoms.COMMIT_AGING: "commit aging",
    symptoms.BAD_ARCHIVES: "bad archives",
    symptoms.MISLABELLED: "mislabelled",
    NEVER_SHIPPED: "never shipped",
    FINE: "fine",
    MUTED: "muted",
    RETIRED: "retired",
}


TROUBLES: Final = {
    inspections.UNOPENABLE: "do not open",
    inspections.CHANGED: "changed since they were acknowledged",
    inspections.MISLABELLED: "mislabelled",
}


def health_words(name: str) -> str:
    """A host's health, or any symptom, in words."""
    return HEALTH.get(name, name.replace("-", " "))


def trouble_words(kind: str) -> str:
    """What inspection found wrong with episodes, in words."""
    return TROUBLES.get(kind, kind)


def span(seconds: float) -> str:
    """A span of time in its largest unit, as one reads it at a glance."""
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 2 * 86400:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86400)} d"


def ago(ns: int | None, now_ns: int) -> str:
    """How long ago a moment was; both in nanoseconds since the epoch."""
    if ns is None:
        return "never"
    return f"{span((now_ns - ns) / 1e9)} ago" if ns <= now_ns else f"{span((ns - now_ns) / 1e9)} ahead"


def thousands(count: float) -> str:
    """A count with thin spaces between its thousands."""
    return f"{count:,.0f}".replace(",", "\u2009")


def plural(count: int, what: str) -> str:
    """Such as ``1 host`` and ``2 hosts``."""
    return f"{thousands(count)} {what}" if count == 1 else f"{thousands(count)} {what}s"


def behind(commits: int | None) -> str:
    """How far a commit is behind the head of the branch."""
    if commits is None:
        return ""
    return "newest" if commits == 0 else f"{commits} behind"


FILTERS: Final = {
    "age": age_text,
    "ago": ago,
    "behind": behind,
    "health": health_words,
    "plural": plural,
    "size": size,
    "span": span,
    "thousands": thousands,
    "trouble": trouble_words,
    "wall": wall_time,
}

"""How a host is, in one word, for people who look over many: the worst of what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cis490_receiver.monitor.facts import HostFacts
from cis490_receiver.monitor.states import MUTED, NEVER_SHIPPED, RETIRED
from cis490_receiver.monitor.symptoms import (
    BAD_ARCHIVES,
    COMMIT_AGING,
    DOCTOR_FAILING,
    DOCTOR_STALE,
    FATAL_ONLY,
    GONE,
    MISLABELLED,
    SILENT,
    UNSTAMPED,
    Symptom,
)
from cis490_receiver.state.base.notes import Mute

FINE: Final = "fine"
#: Nothing of this host reaches the training set.
BAD: Final = "bad"
#: Something is wrong, and episodes come.
WARN: Final = "warn"
OK: Final = "ok"
#: Nobody expects anything.
OFF: Final = "off"

#: Every word, the worst first, and how grave it is.
GRAVITY: Final[Mapping[str, str]] = {
    FATAL_ONLY: BAD,
    SILENT: BAD,
    GONE: BAD,
    BAD_ARCHIVES: WARN,
    MISLABELLED: WARN,
    UNSTAMPED: WARN,
    DOCTOR_FAILING: WARN,
    DOCTOR_STALE: WARN,
    COMMIT_AGING: WARN,
    NEVER_SHIPPED: OFF,
    FINE: OK,
    MUTED: OFF,
    RETIRED: OFF,
}
#: Their places in that order.
RANK: Final[Mapping[str, int]] = {name: place for place, name in enumerate(GRAVITY)}


@dataclass(frozen=True, slots=True)
class Health:
    """One of `GRAVITY`, since when (nanoseconds since the epoch; None where that says nothing) and why."""

    name: str
    since_ns: int | None = None
    evidence: str = ""
    remedy: str = ""

    @property
    def gravity(self) -> str:
        """`BAD`, `WARN`, `OK` or `OFF`."""
        return GRAVITY[self.name]


def health_of(host: HostFacts, symptoms: Iterable[Symptom], mute: Mute | None) -> Health:
    """The first that applies: retired, muted, the worst of its `symptoms`, never-shipped, fine."""
    if host.retired is not None:
        return Health(RETIRED, host.retired.at_ns, host.retired.why)
    if mute is not None:
        return Health(MUTED, None, mute.why)
    worst = min(symptoms, key=lambda symptom: RANK[symptom.name], default=None)
    if worst is not None:
        return Health(worst.name, worst.since_ns, worst.evidence, worst.remedy)
    if host.last_stored_at_ns is None:
        return Health(NEVER_SHIPPED, host.report_at_ns, "no episode of it was ever stored")
    return Health(FINE)

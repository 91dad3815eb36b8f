"""What a look at the fleet finds, in the words of ``health-check --json`` and ``GET /v1/symptoms``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cis490_receiver.config import Settings
from cis490_receiver.models import wall_time
from cis490_receiver.monitor.diagnosis import diagnose
from cis490_receiver.monitor.facts import Facts
from cis490_receiver.monitor.states import ACTIVE, count_states
from cis490_receiver.monitor.symptoms import GONE, SILENT, Symptom
from cis490_receiver.state.base.notes import Mute


@dataclass(frozen=True, slots=True)
class Findings:
    """What one look found."""

    facts: Facts
    #: How many hosts are in each state (`monitor.states`).
    states: Mapping[str, int]
    symptoms: tuple[Symptom, ...]
    muted: Mapping[str, Mute]

    @classmethod
    def of(cls, facts: Facts, settings: Settings, muted: Mapping[str, Mute]) -> Findings:
        """What `facts` show."""
        symptoms = tuple(diagnose(facts, settings))
        return cls(facts, count_states(facts, settings, muted), symptoms, muted)

    @property
    def loud(self) -> list[Symptom]:
        """The symptoms that are not muted."""
        return [symptom for symptom in self.symptoms if symptom.host_id not in self.muted]

    @property
    def looked(self) -> int:
        """How many indexed episodes were looked at."""
        return presence.looked if (presence := self.facts.receiver.presence) else 0

    @property
    def fleet_is_gone(self) -> bool:
        """Whether hosts are gone and none ships any more."""
        return self.states[GONE] > 0 and not self.states[ACTIVE] and not self.states[SILENT]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "at_wall": wall_time(self.facts.now_ns),
            "hosts": len(self.facts.hosts),
            "hosts_by_state": dict(self.states),
            "episodes": self.facts.receiver.episodes,
            "episodes_looked_at": self.looked,
            "fleet_gone": self.fleet_is_gone,
            "symptoms": [
                symptom_dict(symptom) | {"muted": symptom.host_id in self.muted} for symptom in self.symptoms
            ],
        }


def symptom_dict(symptom: Symptom) -> dict[str, Any]:
    """A symptom as it stands in JSON."""
    return {
        "host_id": symptom.host_id,
        "symptom": symptom.name,
        "since_wall": wall_time(symptom.since_ns),
        "evidence": symptom.evidence,
        "remedy": symptom.remedy,
    }

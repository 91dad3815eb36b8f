"""In which one of its states a host is: what lists and counts go by, so that the counts add up."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from cis490_receiver.config import Settings
from cis490_receiver.monitor.diagnosis import is_gone, is_silent, is_watched
from cis490_receiver.monitor.facts import Facts, HostFacts
from cis490_receiver.monitor.symptoms import GONE, SILENT

ACTIVE: Final = "active"
MUTED: Final = "muted"
RETIRED: Final = "retired"
#: It has reported, or been refused long ago, and no episode of it was ever stored.
NEVER_SHIPPED: Final = "never-shipped"
#: In the order in which they are told.
STATES: Final = (ACTIVE, SILENT, GONE, NEVER_SHIPPED, MUTED, RETIRED)


def state_of(host: HostFacts, now_ns: int, settings: Settings, muted: Container[str]) -> str:
    """The first that applies: retired, muted, silent, active (a sign of life within the look-back), gone,
    never-shipped."""
    if host.retired:
        return RETIRED
    if host.host_id in muted:
        return MUTED
    if is_silent(host, now_ns, settings):
        return SILENT
    if is_watched(host, now_ns, settings):
        return ACTIVE
    return GONE if is_gone(host, now_ns, settings) else NEVER_SHIPPED


def count_states(facts: Facts, settings: Settings, muted: Container[str]) -> dict[str, int]:
    """How many hosts are in each state."""
    counts = dict.fromkeys(STATES, 0)
    for host in facts.hosts:
        counts[state_of(host, facts.now_ns, settings, muted)] += 1
    return counts

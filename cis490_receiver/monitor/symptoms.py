"""What a symptom is, and the names that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SILENT: Final = "silent"
GONE: Final = "gone"
FATAL_ONLY: Final = "fatal-only"
UNSTAMPED: Final = "unstamped"
DOCTOR_FAILING: Final = "doctor-failing"
DOCTOR_STALE: Final = "doctor-stale"
COMMIT_AGING: Final = "commit-aging"
BAD_ARCHIVES: Final = "bad-archives"
MISLABELLED: Final = "mislabelled"
DISK_LOW: Final = "disk-low"
GATE_STALE: Final = "gate-stale"
INDEX_DAMAGED: Final = "index-damaged"
EPISODES_MISSING: Final = "episodes-missing"
EPISODES_UNINDEXED: Final = "episodes-unindexed"
CLOCK_BEHIND: Final = "clock-behind"
CANNOT_LOOK: Final = "cannot-look"
#: Every symptom that there is.
NAMES: Final = (
    SILENT,
    GONE,
    FATAL_ONLY,
    UNSTAMPED,
    DOCTOR_FAILING,
    DOCTOR_STALE,
    COMMIT_AGING,
    BAD_ARCHIVES,
    MISLABELLED,
    DISK_LOW,
    GATE_STALE,
    INDEX_DAMAGED,
    EPISODES_MISSING,
    EPISODES_UNINDEXED,
    CLOCK_BEHIND,
    CANNOT_LOOK,
)
#: What a host is told of only as long as it is watched: that it is not seen any more does not mean that it ended.
WHILE_WATCHED: Final = frozenset({SILENT, GONE, UNSTAMPED, DOCTOR_STALE, COMMIT_AGING})
#: Raised at most once a day, not every hour.
DAILY: Final = frozenset({GONE})


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

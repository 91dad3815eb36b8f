"""Which branch of FIXYOURSELF.md fits a host, and its commands; a test compares them with the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cis490_receiver.monitor.symptoms import COMMIT_AGING, UNSTAMPED, Symptom
from cis490_receiver.state.base.gate_list import GateSnapshot

_HERE: Final = ("ORCHESTRATOR=${ORCHESTRATOR:-/opt/orchestrator}", 'cd "$ORCHESTRATOR"')
_FIND: Final = (
    "export LC_ALL=C",
    "ORCHESTRATOR=${ORCHESTRATOR:-/opt/orchestrator}",
    'cd "$ORCHESTRATOR" && git fetch --quiet --prune origin',
    'git -C "$ORCHESTRATOR" status -sb',
    'git -C "$ORCHESTRATOR" log --oneline origin/main..HEAD',
)
_FETCH: Final = "git fetch --quiet --prune origin"
_KEEP: Final = 'git branch "my-work-$(date +%Y%m%d-%H%M%S)"'
#: The refusals that this page is for.
_CODES: Final = frozenset({"commit-rejected", "missing-commit", "malformed-commit"})
#: As the doctor's check of the orchestrator names it.
_TOLD: Final = re.compile(r"FIXYOURSELF\.md, branch ([A-F]) \(")


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the page: its letter (empty for the step that finds it), its title, its commands."""

    letter: str
    title: str
    commands: tuple[str, ...]


FIND: Final = Branch("", "Find your branch", _FIND)
BRANCHES: Final[Mapping[str, Branch]] = {
    branch.letter: branch
    for branch in (
        Branch("A", "Behind", (*_HERE, _FETCH, "git merge --ff-only origin/main")),
        Branch("B", "Local commits on top", (*_HERE, _FETCH, _KEEP, "git reset --keep origin/main")),
        Branch("C", "Diverged", (*_HERE, _FETCH, _KEEP, "git reset --keep origin/main")),
        Branch(
            "D",
            "Dirty work tree",
            (
                *_HERE,
                'git stash push --include-untracked --message "before the update of $(date +%Y%m%d-%H%M%S)"',
                "git stash list",
            ),
        ),
        Branch(
            "E",
            "Wrong branch or detached HEAD",
            (*_HERE, _KEEP, "git switch main", "git branch --set-upstream-to=origin/main main"),
        ),
        Branch("F", "Broken clone or permissions", _FIND),
    )
}


def branch_for(
    *,
    symptoms: Iterable[Symptom],
    refusal: str | None,
    commit: str | None,
    doctor: Mapping[str, Any] | None,
    gate: GateSnapshot | None,
) -> Branch | None:
    """The branch that fits, None where the page is not what is needed. `refusal` and `commit` are the error code and
    the commit of the last refusal. What the host's doctor saw goes before what can be told from here."""
    if told := _told_by_doctor(doctor):
        return BRANCHES[told]
    if any(symptom.name == COMMIT_AGING for symptom in symptoms):
        return BRANCHES["A"]
    if refusal == "commit-rejected" and gate is not None and commit in gate.older:
        return BRANCHES["A"]
    if refusal in _CODES or any(symptom.name == UNSTAMPED for symptom in symptoms):
        return FIND
    return None


def _told_by_doctor(doctor: Mapping[str, Any] | None) -> str | None:
    checks = doctor.get("checks") if doctor else None
    for check in checks if isinstance(checks, list) else []:
        if isinstance(check, dict) and check.get("name") == "orchestrator" and check.get("status") == "fail":
            found = _TOLD.search(str(check.get("remedy")))
            return found[1] if found else None
    return None

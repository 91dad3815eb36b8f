"""The version gate: which orchestrator commits may feed the training set.

`gate-refresh` writes a list that the workers watch. No git, no subprocess and no file access on most requests: a check
is a set membership.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cis490_receiver import protocol
from cis490_receiver.errors import CommitRejected, GateUnavailable, MalformedCommit, MissingCommit
from cis490_receiver.policy import remedies
from cis490_receiver.state.base.gate_list import GateList, GateSnapshot, Watched


@dataclass(frozen=True, slots=True)
class _Window:
    """A snapshot, prepared for look-ups."""

    snapshot: GateSnapshot
    accepted: frozenset[str]
    #: Commit id to how many commits behind the head it is, for the branch beyond the window.
    behind: dict[str, int]


class VersionGate:
    """The allow-list of one receiver. Threads may share it."""

    def __init__(self, gate_list: GateList, extra_commits: Iterable[str] = ()) -> None:
        extra = frozenset(extra_commits)
        self._window: Watched[_Window] = gate_list.watch(
            lambda snapshot: _prepare(snapshot, extra),
            lambda window: {"head": window.snapshot.head, "commits": len(window.accepted)},
        )

    def check(self, commit: str | None) -> str:
        """Let an episode in that `commit` (trimmed, lower-cased; None when the header is absent) recorded.

        Returns:
            The commit.

        Raises:
            MissingCommit, MalformedCommit, CommitRejected: with what the client should do.
            GateUnavailable: there is no snapshot that can be read.
        """
        if commit is None:
            raise MissingCommit(None, remediation=remedies.MISSING, see_also=remedies.SEE_ALSO)
        if not protocol.is_commit(commit):
            raise MalformedCommit(None, remediation=remedies.MALFORMED, see_also=remedies.SEE_ALSO)
        window = self._current()
        if commit not in window.accepted:
            raise _rejection(commit, window)
        return commit

    def snapshot(self) -> GateSnapshot:
        """The snapshot in force.

        Raises:
            GateUnavailable: there is none that can be read.
        """
        return self._current().snapshot

    def _current(self) -> _Window:
        window = self._window.current()
        if window is None:
            raise GateUnavailable
        return window


def _prepare(snapshot: GateSnapshot, extra: frozenset[str]) -> _Window:
    accepted = frozenset(item.commit for item in snapshot.commits) | extra
    first_older = len(snapshot.commits)
    behind = {commit: first_older + number for number, commit in enumerate(snapshot.older)}
    return _Window(snapshot, accepted, behind)


def _rejection(commit: str, window: _Window) -> CommitRejected:
    snapshot = window.snapshot
    behind = window.behind.get(commit)
    if behind is None:
        remediation = remedies.foreign(snapshot.ref, snapshot.refreshed_at_wall)
    else:
        remediation = remedies.behind(snapshot.ref, behind, len(snapshot.commits))
    return CommitRejected(
        None,
        your_commit=commit,
        reason="not-on-branch" if behind is None else "behind",
        commits_behind=behind,
        valid_window_size=len(snapshot.commits),
        head_commit=snapshot.head,
        remediation=remediation,
        see_also=remedies.SEE_ALSO,
    )


def age_text(seconds: float) -> str:
    """An age as people say it: its two largest units."""
    minutes = int(seconds // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min"

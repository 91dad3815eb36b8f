"""The version gate: which orchestrator commits may feed the training set.

`gate-refresh` writes `gate.json`; a worker reads it and notices a new one by its inode, size and mtime. No
git, no subprocess and no file access on most requests: a check is a set membership.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.errors import CommitRejected, GateUnavailable, MalformedCommit, MissingCommit
from cis490_receiver.files.watched import WatchedFile
from cis490_receiver.policy import remedies

#: The snapshot's name in the data folder.
GATE_FILE: Final = "gate.json"


@dataclass(frozen=True, slots=True)
class GateCommit:
    """A commit of the window: id, committer date (ISO 8601) and subject."""

    commit: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """What gate.json says: the last commits of a ref, newest first."""

    repo: str
    ref: str
    head: str
    #: How many commits were asked for; `commits` is shorter on a short branch.
    window: int
    commits: tuple[GateCommit, ...]
    #: Ids of the branch beyond the window, newest first: they tell "behind" from "never on the branch".
    older: tuple[str, ...]
    refreshed_at_wall: str
    refreshed_at_ns: int

    def age_seconds(self, now_ns: int) -> float:
        """How long ago it was read from git."""
        return (now_ns - self.refreshed_at_ns) / 1e9

    def to_json(self) -> bytes:
        """The content of gate.json."""
        data = {
            "repo": self.repo,
            "ref": self.ref,
            "head": self.head,
            "window": self.window,
            "refreshed_at_wall": self.refreshed_at_wall,
            "refreshed_at_ns": self.refreshed_at_ns,
            "commits": [
                {"commit": item.commit, "date": item.date, "subject": item.subject} for item in self.commits
            ],
            "older": list(self.older),
        }
        return json.dumps(data, indent=1).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> GateSnapshot:
        """Read gate.json.

        Raises:
            ValueError: it is not a snapshot.
        """
        try:
            data = i_json.loads(text)
            commits = tuple(
                GateCommit(_commit(item["commit"]), str(item["date"]), str(item["subject"]))
                for item in data["commits"]
            )
            if not commits:
                raise ValueError("not a gate snapshot: its window is empty")
            return cls(
                repo=str(data["repo"]),
                ref=str(data["ref"]),
                head=_commit(data["head"]),
                window=_integer(data["window"]),
                commits=commits,
                older=tuple(_commit(item) for item in data["older"]),
                refreshed_at_wall=str(data["refreshed_at_wall"]),
                refreshed_at_ns=_integer(data["refreshed_at_ns"]),
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a gate snapshot: {exc!r}") from exc


def _commit(value: Any) -> str:
    if not isinstance(value, str) or not protocol.is_commit(value):
        raise ValueError(f"not a commit id: {value!r}")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"not a count or a time: {value!r}")
    return value


#: Inode, size in bytes and mtime in nanoseconds: what tells a file from the one that it replaced.
_Identity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Window:
    """A snapshot, prepared for look-ups."""

    snapshot: GateSnapshot
    accepted: frozenset[str]
    #: Commit id to how many commits behind the head it is, for the branch beyond the window.
    behind: dict[str, int]


class VersionGate:
    """The allow-list of one receiver. Threads may share it."""

    def __init__(
        self,
        path: Path,
        extra_commits: Iterable[str] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        extra = frozenset(extra_commits)
        self._file = WatchedFile(
            path,
            lambda text: _prepare(GateSnapshot.from_json(text), extra),
            name="gate",
            describe=lambda window: {"head": window.snapshot.head, "commits": len(window.accepted)},
            monotonic=monotonic,
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
        window = self._file.current()
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

"""The version gate: which orchestrator commits may feed the training set.

`gate-refresh` writes `gate.json`; a worker reads it and notices a new one by its inode, size and mtime. No
git, no subprocess and no file access on most requests: a check is a set membership.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import protocol
from cis490_receiver.errors import CommitRejected, GateUnavailable, MalformedCommit, MissingCommit
from cis490_receiver.logfmt import event

log = logging.getLogger(__name__)

#: The snapshot's name in the data folder.
GATE_FILE: Final = "gate.json"
SEE_ALSO: Final = "FIXYOURSELF.md"
#: How long a worker may go on with the snapshot it has before it looks at the file again, in seconds.
RECHECK_SECONDS: Final = 0.5

_MISSING_REMEDY: Final = (
    "Your shipper did not say which orchestrator commit recorded this episode. Update the lab host "
    "(git pull in the orchestrator's clone, then restart the shipper), which stamps "
    "X-Cis490-Code-Commit from the clone's own HEAD. FIXYOURSELF.md, step 1, says how to check."
)
_BEHIND_REMEDY: Final = (
    "Your commit is on {ref} but {behind} commits older than its head; only the newest {window} are "
    "accepted. In the orchestrator's clone: `git fetch --prune origin && git merge --ff-only {upstream}`, "
    "restart the orchestrator, and record again. If that refuses, FIXYOURSELF.md, branch A, goes on from "
    "here. {no_faking}"
)
_FOREIGN_REMEDY: Final = (
    "Your commit is not on {ref}: it is a local commit, one from another branch, or one that was "
    "pushed after {refreshed} (then just retry in ten minutes). `git status -sb` and "
    "`git log --oneline {upstream}..HEAD` in the orchestrator's clone show which; FIXYOURSELF.md, "
    "branches B to E, tells how to get back onto {ref} without losing your work. {no_faking}"
)
_NO_FAKING: Final = (
    "Please do not send a commit id other than the one that ran: the gate is what lets the people who train "
    "on this data know which code recorded it, and a false id spoils the set without anybody noticing."
)


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
            data = json.loads(text)
            commits = tuple(
                GateCommit(_commit(item["commit"]), str(item["date"]), str(item["subject"]))
                for item in data["commits"]
            )
            return cls(
                repo=str(data["repo"]),
                ref=str(data["ref"]),
                head=_commit(data["head"]),
                window=int(data["window"]),
                commits=commits,
                older=tuple(_commit(item) for item in data["older"]),
                refreshed_at_wall=str(data["refreshed_at_wall"]),
                refreshed_at_ns=int(data["refreshed_at_ns"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise ValueError(f"not a gate snapshot: {exc!r}") from exc


def _commit(value: Any) -> str:
    if not isinstance(value, str) or not protocol.is_commit(value):
        raise ValueError(f"not a commit id: {value!r}")
    return value


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
        self._path = path
        self._extra = frozenset(extra_commits)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._window: _Window | None = None
        self._seen: tuple[int, int, int] | None = None
        self._look_again_at = 0.0

    def check(self, commit: str | None) -> str:
        """Let an episode in that `commit` (trimmed, lower-cased; None when the header is absent) recorded.

        Returns:
            The commit.

        Raises:
            MissingCommit, MalformedCommit, CommitRejected: with what the client should do.
            GateUnavailable: there is no snapshot that can be read.
        """
        if commit is None:
            raise MissingCommit(None, remediation=_MISSING_REMEDY, see_also=SEE_ALSO)
        if not protocol.is_commit(commit):
            raise MalformedCommit(None, see_also=SEE_ALSO)
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
        now = self._monotonic()
        if now >= self._look_again_at:
            with self._lock:
                if now >= self._look_again_at:
                    self._refresh()
                    self._look_again_at = now + RECHECK_SECONDS
        window = self._window
        if window is None:
            raise GateUnavailable
        return window

    def _refresh(self) -> None:
        """Take a new snapshot up. One that is damaged leaves the last good one in force; one that was
        removed closes the gate, in every worker alike."""
        try:
            with open(self._path, "rb") as stream:
                stat = os.fstat(stream.fileno())
                seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if seen == self._seen:
                    return
                window = _prepare(GateSnapshot.from_json(stream.read()), self._extra)
        except FileNotFoundError:
            self._report("gate-missing", None)
            self._window = None
            return
        except (OSError, ValueError) as exc:
            self._report("gate-damaged", str(exc))
            return
        self._seen = seen
        self._window = window
        log.info(event("gate-loaded", head=window.snapshot.head, commits=len(window.accepted)))

    def _report(self, name: str, reason: str | None) -> None:
        """Log a snapshot that cannot be used, once for each state of the file."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except OSError:
            seen = (0, 0, 0)
        if seen != self._seen:
            self._seen = seen
            kept = self._window is not None and reason is not None
            log.warning(event(name, file=self._path.name, reason=reason, kept_last_good=kept))


def _prepare(snapshot: GateSnapshot, extra: frozenset[str]) -> _Window:
    accepted = frozenset(item.commit for item in snapshot.commits) | extra
    first_older = len(snapshot.commits)
    behind = {commit: first_older + number for number, commit in enumerate(snapshot.older)}
    return _Window(snapshot, accepted, behind)


def _rejection(commit: str, window: _Window) -> CommitRejected:
    snapshot = window.snapshot
    behind = window.behind.get(commit)
    template = _FOREIGN_REMEDY if behind is None else _BEHIND_REMEDY
    remediation = template.format(
        ref=snapshot.ref,
        upstream=snapshot.ref if "/" in snapshot.ref else f"origin/{snapshot.ref}",
        behind=behind,
        window=len(snapshot.commits),
        refreshed=snapshot.refreshed_at_wall,
        no_faking=_NO_FAKING,
    )
    return CommitRejected(
        None,
        your_commit=commit,
        reason="not-on-branch" if behind is None else "behind",
        commits_behind=behind,
        valid_window_size=len(snapshot.commits),
        head_commit=snapshot.head,
        remediation=remediation,
        see_also=SEE_ALSO,
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

"""The version gate's list: what `gate-refresh` read from git, for the workers to judge by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cis490_receiver import i_json, protocol

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class GateCommit:
    """A commit of the window: id, committer date (ISO 8601) and subject."""

    commit: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """The last commits of a ref, newest first."""

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
        """The snapshot as JSON, in ASCII."""
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
        """Read what `to_json` wrote.

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


class Watched(Protocol[T_co]):
    """Something that may change at any time. Threads may share it."""

    def current(self) -> T_co | None:
        """What is in force; None when there is nothing. Most of the time this looks nowhere: a change is seen within
        a second, in every process. What is damaged leaves the last good thing in force."""
        ...


class GateList(Protocol):
    """The list of one receiver: one snapshot, replaced as a whole."""

    def read(self) -> GateSnapshot | None:
        """The snapshot as it is now; None when there is none that can be read."""
        ...

    def watch(
        self, prepare: Callable[[GateSnapshot], T], describe: Callable[[T], Mapping[str, object]]
    ) -> Watched[T]:
        """What `prepare` makes of the snapshot, once for each; `describe` gives the fields of the log's line that says
        what was loaded."""
        ...

    def replace(self, snapshot: GateSnapshot) -> None:
        """Make `snapshot` the one in force, durably. After a crash there is the one before or this one, whole; no
        receiver is ever without.

        Raises:
            ConfigError: this user may not write it.
            StorageFailed: it could not be written; the one before stands.
        """
        ...

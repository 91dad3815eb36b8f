"""What a course of events is: what is there before, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Step = dict[str, Any]
START: Step = {"do": "start"}


def put(host: str = "host-a", episode: str = "ep-1", seed: int = 1, **more: Any) -> Step:
    return {"do": "put", "host": host, "episode": episode, "seed": seed, **more}


@dataclass(frozen=True)
class Process:
    """Steps of one process, under strace's `inject` expressions."""

    steps: tuple[Step, ...]
    inject: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """Whatever `before` does counts as durable; `processes` are recorded one after the other."""

    name: str
    before: tuple[Step, ...]
    processes: tuple[Process, ...]
    #: The statuses that the recorded puts are answered with, in any order.
    statuses: tuple[object, ...]
    #: Whose promise it is.
    about: str = "episodes"
    #: What comes after the crash, before anybody looks.
    after: tuple[Step, ...] = ()

    @property
    def every_byte(self) -> bool:
        """Whether the line of the index is torn at each of its bytes; elsewhere at a few."""
        return self.name in EVERY_BYTE

    @property
    def puts(self) -> list[Step]:
        """Everything that is shipped, first to last."""
        return [step for step in self.steps if "seed" in step and step["do"] != "tear"]

    @property
    def turns(self) -> list[Step]:
        """Everything that is done, first to last; what is done at once is one step."""
        return [*self.before, *(step for process in self.processes for step in process.steps)]

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, one by one."""
        return [part for step in self.turns for part in parts_of(step)]


def parts_of(step: Step) -> list[Step]:
    """What is done at once in a step."""
    if step["do"] == "meanwhile":
        return [step["first"], step["second"]]
    return list(step.get("puts", [step]))


#: Courses in which a line or a small file is torn at each of its bytes; in the others at a few.
EVERY_BYTE = frozenset(
    {
        "first-start",
        "known-host",
        "torn-line",
        "torn-newline",
        "straddled-block",
        "dead-writer",
        "overtaken-same",
    }
    | {"no-links", "failed-line-sync", "failed-sync-of-a-dead-writers-line", "two-writers-differ"}
    | {"report", "report-first", "gate", "alert-first", "alert-torn"}
)


def one(
    name: str, before: tuple[Step, ...], steps: tuple[Step, ...], *statuses: object, about: str = "episodes"
) -> Scenario:
    """A scenario of one process."""
    return Scenario(name, before, (Process(steps),), statuses, about)

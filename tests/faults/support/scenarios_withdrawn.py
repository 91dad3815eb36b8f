"""Courses of events that withdraw episodes."""

from __future__ import annotations

from tests.faults.support.course import START, Process, Scenario, Step, one, parts_of
from tests.faults.support.scenarios_beside import failing, meanwhile


def withdraw(turn: int, *numbers: int, undo: bool = False) -> Step:
    return {"do": "withdraw", "turn": turn, "numbers": list(numbers), "undo": undo}


#: So many that the next line begins in a block and ends in the next.
_OLD = withdraw(1, *range(10, 36))
_KNOWN = (START, _OLD)
_TORN: Step = {"do": "tear_withdrawal"}
_MANY = withdraw(2, *range(36, 62))
_UNDONE = withdraw(3, *range(20, 50), undo=True)


def course(name: str, before: tuple[Step, ...], *steps: Step) -> Scenario:
    """Of one process that succeeds."""
    count = sum(len(parts_of(step)) for step in steps)
    return one(name, before, steps, *["withdrawn"] * count, about="withdrawals")


WITHDRAWN: tuple[Scenario, ...] = (
    course("withdraw-first", (START,), withdraw(1, 1), withdraw(2, 2)),
    course("withdraw-by-commit", _KNOWN, _MANY, _UNDONE),
    course("withdraw-torn", (*_KNOWN, _TORN), withdraw(2, 2), withdraw(3, 10, undo=True)),
    course(
        "withdraw-two-at-once", _KNOWN, meanwhile(_MANY, withdraw(4, 2), "rename", "/.withdrawn.jsonl.tmp")
    ),
    course("withdraw-after-the-rename", _KNOWN, meanwhile(_MANY, withdraw(4, 2), "fsync", "/data")),
    Scenario(
        "withdraw-after-a-dead-one",
        _KNOWN,
        # In its file's sync, and then in the sync of its name.
        (
            Process((withdraw(2, *range(36, 70)),), ("fsync:signal=KILL:when=1",)),
            Process((_UNDONE,), ("fsync:signal=KILL:when=2",)),
            Process((withdraw(4, 2),)),
        ),
        ("withdrawn",),
        "withdrawals",
    ),
    *(
        Scenario(
            f"withdraw-failed-sync-{number}",
            _KNOWN,
            (Process((_MANY, withdraw(4, 2), _UNDONE), failing("fsync", number)),),
            outcomes,
            "withdrawals",
        )
        for number, outcomes in (
            # Of many, that of their name; of one, that of the name that it finds.
            (2, ("storage-failed", "withdrawn", "withdrawn")),
            (3, ("withdrawn", "storage-failed", "withdrawn")),
        )
    ),
)

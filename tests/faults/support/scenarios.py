"""Courses of events of the write path."""

from __future__ import annotations

from tests.faults.support.course import START, Process, Scenario, Step, one, put
from tests.faults.support.inspections import INSPECTIONS
from tests.faults.support.releasing import RELEASES
from tests.faults.support.scenarios_beside import BESIDE
from tests.faults.support.scenarios_resumed import RESUMED
from tests.faults.support.scenarios_withdrawn import WITHDRAWN


def _dead(name: str, last: Step, *statuses: object, do: str = "die_before_line") -> Scenario:
    """A writer dies; `last` comes after it."""
    before = (START, put(episode="ep-0", seed=7))
    died = Process((put() | {"do": do},))
    return Scenario(name, before, (died, Process((last,))), statuses)


#: index.jsonl ends shortly before a block does: 11 lines of 345 bytes.
_ALMOST_A_BLOCK = tuple(put("host-b", f"old-{number:02d}", 100 + number, size=10) for number in range(11))
_TORN: Step = {"do": "tear", "host": "host-t", "episode": "torn", "seed": 50, "keep": 200}
_DIES = put("host-t", "torn", seed=50) | {"do": "die_before_line"}
_TORN_WHOLE: Step = _TORN | {"keep": -1}
_OTHER = put("host-b", "ep-9", seed=9)
NO_LINKS = ("linkat:error=EPERM",)


def _stopped_start(count: int) -> Scenario:
    """A first start that is killed at its sync number `count`, then one that is not."""
    first = Process((START,), (f"fsync:signal=KILL:when={count}",))
    return Scenario(f"start-killed-{count}", (), (first, Process((START, put()))), (201,))


def _failed_start(count: int) -> Scenario:
    """A first start whose sync number `count` fails, then one whose syncs do not."""
    first = Process((START,), (f"fsync:error=EIO:when={count}",))
    return Scenario(f"start-failed-{count}", (), (first, Process((START, put()))), ("bad-configuration", 201))


_INGEST: tuple[Scenario, ...] = (
    one("first-start", (), (START, put()), 201),
    one("new-host", (START, _OTHER), (put(),), 201),
    one("known-host", (START, put(episode="ep-0", seed=7)), (put(),), 201),
    one("repeat", (START, put()), (put(),), 200),
    one("conflict", (START, put()), (put(seed=2),), "conflict"),
    one("straddled-block", (START, *_ALMOST_A_BLOCK), (put("host-b", "the-one-over"),), 201),
    one(
        "straddled-block-by-two",
        (START, *_ALMOST_A_BLOCK[:-1]),
        (
            {
                "do": "grouped",
                "puts": [put("host-b", f"new-{number}", number, size=10) for number in (1, 2, 3)],
            },
        ),
        *(201, 201, 201),
    ),
    one("torn-line", (START, _OTHER, _TORN), (put(),), 201),
    one("torn-newline", (START, _OTHER, _DIES, _TORN_WHOLE), (put(),), 201),
    one("ship-and-repeat", (START,), (put(), put(), put(episode="ep-2", seed=2)), 201, 200, 201),
    _dead("dead-writer", put(), 200),
    _dead("dead-writer-other-bytes", put(seed=2), "conflict"),
    _dead("dead-writer-then-start", START),
    _dead("dead-writer-of-a-line", put(), 200, do="die_before_sync_of_line"),
    _dead("dead-writer-of-a-line-then-start", START, do="die_before_sync_of_line"),
    one("two-writers-same", (START,), ({"do": "together", "puts": [put(), put()]},), 201, 200),
    one("two-writers-differ", (START,), ({"do": "together", "puts": [put(), put(seed=2)]},), 201, "conflict"),
    one("overtaken-same", (START,), ({"do": "overtaken", "puts": [put(), put()]},), 201, 200),
    one("overtaken-differs", (START,), ({"do": "overtaken", "puts": [put(), put(seed=2)]},), 201, "conflict"),
    Scenario("no-links", (START,), (Process((put(),), NO_LINKS),), (201,)),
    Scenario(
        "no-links-two-writers",
        (START,),
        (Process(({"do": "together", "puts": [put(), put(seed=2)]},), NO_LINKS),),
        (201, "conflict"),
    ),
    Scenario(
        "no-links-dead-writer",
        (START, _OTHER),
        (Process((put() | {"do": "die_before_line"},), NO_LINKS), Process((put(),), NO_LINKS)),
        (200,),
    ),
    Scenario(
        "failed-folder-sync",
        (START, put(episode="ep-0", seed=7)),
        # The first sync is the upload's, the second that of episodes/, the third the host's folder.
        (Process((put(), put()), ("fsync:error=EIO:when=3",)),),
        ("storage-failed", 200),
    ),
    Scenario(
        "failed-parent-sync",
        (START,),
        (Process((put(), put()), ("fsync:error=EIO:when=2",)),),
        ("storage-failed", 201),
    ),
    Scenario(
        "failed-parent-sync-of-two",
        (START,),
        (
            Process(
                ({"do": "together", "puts": [put(), put(episode="ep-2", seed=2)]},),
                # Counted in each thread.
                ("fsync:error=EIO:when=2",),
            ),
            Process((put(),)),
        ),
        ("storage-failed", "storage-failed", 201),
    ),
    one(
        "new-host-two-episodes",
        (START,),
        ({"do": "together", "puts": [put(), put(episode="ep-2", seed=2)]},),
        *(201, 201),
    ),
    Scenario(
        "failed-line-sync",
        (START, _OTHER),
        (Process((put(), put()), ("fdatasync:error=EIO:when=1",)),),
        ("storage-failed", 200),
    ),
    Scenario(
        "failed-line-sync-only",
        (START, _OTHER),
        (Process((put(),), ("fdatasync:error=EIO:when=1",)),),
        ("storage-failed",),
    ),
    Scenario(
        "failed-sync-of-a-dead-writers-line",
        (START, _OTHER),
        (
            Process((put() | {"do": "die_before_sync_of_line"},)),
            Process((put(), put()), ("fdatasync:error=EIO:when=1",)),
        ),
        ("storage-failed", 200),
    ),
    *(_stopped_start(count) for count in (1, 2, 3, 4)),
    # Of the data folder, of the episodes', of the incoming one, of the receipts', of the index.
    *(_failed_start(count) for count in (2, 4, 6, 8, 9)),
)


SCENARIOS = _INGEST + BESIDE + WITHDRAWN + RESUMED + RELEASES + INSPECTIONS


def scenario(name: str) -> Scenario:
    return next(item for item in SCENARIOS if item.name == name)

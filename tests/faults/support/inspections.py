"""The step of a driver that inspects, and whether what is promised of that holds in a state that a crash left.

Every episode is spoiled before, so each is to be withdrawn.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

from cis490_receiver.backends import use_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import ReceiverError
from cis490_receiver.upkeep.inspect import Inspection, Report
from cis490_receiver.upkeep.settle import INSPECTION, Ledger
from cis490_receiver.upkeep.throttle import Throttle
from tests.faults.support.beside import say
from tests.faults.support.course import START, Process, Scenario, Step, one, put
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.model import State
from tests.faults.support.mutants import Mutant
from tests.faults.support.recording import Said
from tests.faults.support.scenarios_beside import failing

EPISODES = 3


def look(data: Path, *, one_by_one: bool) -> Report:
    """Inspect what came, noting it for each episode or for all at once."""
    kept = use_backends(Settings(data_dir=data))
    seconds = itertools.count(0, 100 if one_by_one else 0)
    inspection = Inspection(
        kept.store,
        kept.index,
        throttle=Throttle(None),
        max_decompressed_bytes=1 << 30,
        monotonic=lambda: float(next(seconds)),
    )
    try:
        with kept.inspections.alone_or_not() as alone:
            assert alone
            ledger = Ledger(kept.inspections, kept.index, kept.withdrawals, SystemClock(), forget_ns=10**18)
            return inspection.go_on(ledger)
    finally:
        kept.index.close()


def inspect(data: Path, step: Step) -> None:
    try:
        look(data, one_by_one=step["one_by_one"])
        say(status="inspected")
    except ReceiverError as exc:
        say(status=exc.code)


def rot(data: Path, step: Step) -> None:
    """What rot does to whatever is stored."""
    for path in (data / "episodes").glob("*/*"):
        path.write_bytes(b"rotten")


STEPS = {"inspect": inspect, "rot": rot}


class InspectionInspector(Inspector):
    """Inspections: what is before the mark is withdrawn and counted; the next run finds the rest, and nothing twice."""

    def _inspect(self, state: State, data: Path) -> None:
        self._check(data, done=_is_done(state))
        look(data, one_by_one=False)
        self._check(data, done=True)
        if look(data, one_by_one=False).looked:
            raise Broken("it looks at the same episodes for ever")

    def _look(self, state: State, data: Path) -> None:
        self._check(data, done=_is_done(state))

    def _check(self, data: Path, *, done: bool) -> None:
        kept = use_backends(Settings(data_dir=data))
        known = kept.inspections.read()
        withdrawn = Counter(item.episode_id for item in kept.withdrawals.items() if item.by == INSPECTION)
        counted = sum(trouble.count for trouble in known.troubles)
        lines = known.mark.lines if known.mark else 0
        if any(count > 1 for count in withdrawn.values()):
            raise Broken(f"withdrawn twice: {withdrawn}")
        if lines > len(withdrawn):
            raise Broken(f"the mark is behind {lines} episodes, of which {len(withdrawn)} are withdrawn")
        if counted != lines:
            raise Broken(f"{counted} are counted of {lines} before the mark")
        if done and lines != EPISODES:
            raise Broken(f"the run is over, and {lines} of {EPISODES} are before the mark")


def _is_done(state: State) -> bool:
    said = [json.loads(item.text) for item in state.promises if isinstance(item, Said)]
    return any(item["status"] == "inspected" for item in said)


_STORED = (
    START,
    *(put(episode=f"ep-{number}", seed=number, size=100) for number in range(1, EPISODES + 1)),
    {"do": "rot"},
)
_AT_ONCE: Step = {"do": "inspect", "one_by_one": False}
_ONE_BY_ONE: Step = {"do": "inspect", "one_by_one": True}

INSPECTIONS: tuple[Scenario, ...] = (
    one("inspect", _STORED, (_AT_ONCE,), "inspected", about="inspections"),
    one("inspect-one-by-one", _STORED, (_ONE_BY_ONE,), "inspected", about="inspections"),
    Scenario(
        "inspect-after-a-dead-one",
        _STORED,
        # In the sync of the first withdrawal, and in that of the second mark.
        (
            Process((_ONE_BY_ONE,), ("fdatasync:signal=KILL:when=1",)),
            Process((_ONE_BY_ONE,), ("fsync:signal=KILL:when=5",)),
            Process((_AT_ONCE,)),
        ),
        ("inspected",),
        "inspections",
    ),
    *(
        Scenario(
            f"inspect-failed-sync-{number}",
            _STORED,
            (Process((_ONE_BY_ONE, _AT_ONCE), failing("fsync", number)),),
            ("storage-failed", "inspected"),
            "inspections",
        )
        # The first withdrawal's folder's, the first mark's, its folder's.
        for number in (1, 2, 3)
    ),
)

INSPECTING = (
    Mutant(
        "mark-before-the-withdrawal",
        "upkeep/settle.py",
        "            spared = [",
        "            self._inspections.write(self._with(held, mark))\n            spared = [",
        "inspect",
    ),
    Mutant(
        "mark-not-synced",
        "state/marks.py",
        '            atomic.replace_file(self._path, json.dumps(value).encode("ascii"))',
        '            self._path.write_bytes(json.dumps(value).encode("ascii"))',
        "inspect",
    ),
    Mutant(
        "counted-beside-the-mark",
        "upkeep/settle.py",
        "        known = self.known if mark is None else replace(self.known, mark=mark)\n",
        "        known = self.known\n",
        "inspect-one-by-one",
    ),
    Mutant(
        "a-dead-ones-withdrawal-not-synced",
        "upkeep/settle.py",
        "        if not findings:\n            return ()\n",
        "        if not new:\n            return ()\n",
        "inspect-after-a-dead-one",
    ),
    Mutant(
        "withdrawn-again",
        "upkeep/settle.py",
        "            if not (found.episode.key in said and said[found.episode.key].withdrawn)\n",
        "",
        "inspect",
    ),
)

"""Look for what breaks the promise: `python -m tests.faults.support.hunt [--coarse] [NAME…]`.

A name is that of a scenario, of what scenarios are about (`INSPECTORS`), or of one of `promises`; without any,
every scenario is tried. Imports the package of the current folder, so that it serves for mutants too. Prints
one JSON object: for each name the number of crash states looked at, or the first broken promise.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.faults.support import driver, trace
from tests.faults.support.alerts import AlertInspector
from tests.faults.support.course import Scenario
from tests.faults.support.episodes import EpisodeInspector
from tests.faults.support.gates import GateInspector
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.inspections import InspectionInspector
from tests.faults.support.model import crash_states, instants
from tests.faults.support.promises import PROMISES
from tests.faults.support.recording import Recording
from tests.faults.support.reindexed import ReindexInspector
from tests.faults.support.releasing import ReleaseInspector
from tests.faults.support.reports import ReportInspector
from tests.faults.support.resumed import ResumedInspector
from tests.faults.support.scenarios import SCENARIOS, scenario
from tests.faults.support.withdrawing import WithdrawalInspector

DRIVER = Path(driver.__file__)
#: Who knows what is promised about the things that a scenario is about.
INSPECTORS: dict[str, type[Inspector]] = {
    "episodes": EpisodeInspector,
    "reports": ReportInspector,
    "gates": GateInspector,
    "alerts": AlertInspector,
    "index": ReindexInspector,
    "withdrawals": WithdrawalInspector,
    "uploads": ResumedInspector,
    "releases": ReleaseInspector,
    "inspections": InspectionInspector,
}


def record(what: Scenario, scratch: Path, strace: str) -> Recording:
    """Run `what` and give the history of its files."""
    root = scratch / "root"
    root.mkdir()
    data = root / "data"
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    for step in what.before:
        if step["do"].startswith("die"):
            subprocess.run([sys.executable, str(DRIVER), str(data), json.dumps([step])], env=environment)
            continue
        with _silence():
            driver.Driver(data).run(step)
    recording = Recording.of(root)
    for number, process in enumerate(what.processes):
        log = scratch / f"{number}.strace"
        ended = trace.run_traced(
            [sys.executable, str(DRIVER), str(data), json.dumps(process.steps)],
            log,
            strace=strace,
            inject=process.inject,
            environment=environment,
        )
        killed = any("KILL" in expression for expression in process.inject)
        if ended.returncode != 0 and not killed:
            raise RuntimeError(f"the driver failed:\n{ended.stderr}")
        recording.follow(trace.read_calls(log))
    statuses = Counter(answer["status"] for answer in recording.answers)
    if statuses != Counter(what.statuses):
        raise Broken(f"answered {dict(statuses)}, expected {what.statuses}")
    return recording


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the driver's answers of the time before off standard output."""
    kept = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def hunt(what: Scenario, strace: str, *, every_byte: bool = True) -> int:
    """Record `what` and inspect each state that a crash may leave of it.

    Returns:
        How many there were.

    Raises:
        Broken: in one of them.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="crash-states-") as name:
        scratch = Path(name)
        recording = record(what, scratch, strace)
        inspector = INSPECTORS[what.about](what, scratch, recording)
        count = 0
        for state in crash_states(recording, every_byte=every_byte):
            inspector.inspect(state)
            count += 1
        for state in instants(recording):
            inspector.look(state)
        return count


def main() -> int:
    coarse = "--coarse" in sys.argv
    given = [name for name in sys.argv[1:] if name != "--coarse"] or list(INSPECTORS)
    names = [
        found for name in given for found in [what.name for what in SCENARIOS if what.about == name] or [name]
    ]
    results: dict[str, int | str] = {}
    for name in names:
        try:
            results[name] = _try(name, coarse)
        except AssertionError as exc:
            results[name] = f"broken: {exc}"
    print(json.dumps(results, indent=1))
    print(
        f"{sum(count for count in results.values() if isinstance(count, int))} crash states", file=sys.stderr
    )
    return int(any(isinstance(result, str) for result in results.values()))


def _try(name: str, coarse: bool) -> int:
    if name in PROMISES:
        with tempfile.TemporaryDirectory() as folder:
            PROMISES[name](Path(folder) / "data")
        return 0
    what = scenario(name)
    return hunt(what, shutil.which("strace") or "strace", every_byte=what.every_byte and not coarse)


if __name__ == "__main__":
    sys.exit(main())

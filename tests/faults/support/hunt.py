"""Look for what breaks the promise: `python -m tests.faults.support.hunt [--coarse] [NAME…]`.

A name is that of a scenario or of one of `promises`; without any, every scenario is tried. Imports the
package of the current folder, so that it serves for mutants too. Prints one JSON object: for each name the
number of crash states looked at, or the first broken promise.
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

from cis490_receiver.backends import open_backends
from cis490_receiver.clock import SystemClock
from cis490_receiver.config import Settings
from cis490_receiver.errors import Conflict
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.ingest import receive_episode, recover
from cis490_receiver.models import Episode, EpisodeKey
from cis490_receiver.policy.inspection import TakeAll
from cis490_receiver.rebuild import rebuild_held
from cis490_receiver.storage.filesystem import FilesystemStore
from tests.faults.support import driver, trace
from tests.faults.support.model import Promise, Recording, State, crash_states
from tests.faults.support.promises import PROMISES
from tests.faults.support.scenarios import SCENARIOS, Scenario, Step, put, scenario

DRIVER = Path(driver.__file__)
#: Same length of line as any put of the scenarios: what a catalog that looks at lengths alone would mix up.
BYSTANDER = put("host-z", "ep-5", seed=5)


class Broken(AssertionError):
    """The promise is broken, or the tidying up behind it."""


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


class Inspector:
    """Builds states in a scratch folder and looks whether the receiver makes them good."""

    def __init__(self, what: Scenario, scratch: Path, before: list[Promise]) -> None:
        self._puts = what.puts
        self._before = before
        self._scratch = scratch
        self._bodies: dict[str, tuple[Step, bytes]] = {}
        self._archives = {}
        for step in [*self._puts, BYSTANDER]:
            archive = driver.archive_of(step)
            self._archives[json.dumps(step)] = archive
            self._bodies[archive.sha256] = (step, archive.data)

    def inspect(self, state: State) -> None:
        """Raises Broken when the promise does not hold in `state`, or not after recovery, or not after the
        client's retry."""
        root = self._scratch / "state"
        shutil.rmtree(root, ignore_errors=True)
        data = root / "data"
        try:
            self._build(state, root)
            self._settle(data)
            promised = {*state.promises, *self._before}
            self._check(data, promised)
            # Somebody else comes first: the retry must not live on what a lost line left in the catalog.
            for step in [BYSTANDER, *self._puts]:
                promised.add(self._ship(data, step))
            self._check(data, promised)
            self._settle(data)
            self._check(data, promised)
        except Broken as exc:
            raise Broken(f"{exc}\n  {state.story}") from exc
        except Exception as exc:
            raise Broken(f"{type(exc).__name__}: {exc}\n  {state.story}") from exc

    def _build(self, state: State, root: Path) -> None:
        root.mkdir()
        for folder in state.folders:
            (root / folder).mkdir()
        first: dict[int, Path] = {}
        for path, (inode, content) in state.files.items():
            place = root / path
            if inode in first:
                os.link(first[inode], place)
                continue
            first[inode] = place
            if place.name == "index.jsonl":
                # The catalog outlives the journal's tail: it had seen all that could be seen.
                place.write_bytes(state.seen_journal)
                index = LocalIndex(place.parent)
                index.find(EpisodeKey("any", "one"))
                index.close()
            with place.open("r+b" if place.exists() else "wb") as stream:
                stream.truncate()
                stream.write(content)

    def _settle(self, data: Path) -> None:
        store, index = open_backends(Settings(data_dir=data))
        recover(store, index, rebuild_held)
        index.close()

    def _ship(self, data: Path, step: Step) -> Promise:
        """A retry is answered 201 or 200, or 409 when another upload of that name had won."""
        archive = self._archives[json.dumps(step)]
        store, index = FilesystemStore(data), LocalIndex(data)
        try:
            sha256 = receive_episode(
                driver.upload_of(step["host"], step["episode"], archive),
                driver.BytesBody(archive.data),
                store=store,
                index=index,
                clock=SystemClock(),
                inspector=TakeAll(),
            ).episode.sha256
        except Conflict as exc:
            sha256 = str(exc.details["existing_sha256"])
        finally:
            index.close()
        return Promise(step["host"], step["episode"], sha256)

    def _check(self, data: Path, promised: set[Promise]) -> None:
        """What has to hold at rest."""
        stored: dict[tuple[str, str], bytes] = {}
        for path in (data / "episodes").glob("*/*"):
            stored[path.parent.name, path.name.removesuffix(".tar.zst")] = path.read_bytes()
        shas = {key: self._whole(key, content) for key, content in stored.items()}
        lines = self._lines(data / "index.jsonl")
        for key, episode in lines.items():
            if shas.get(key) != episode.sha256:
                raise Broken(f"the line of {key} is not of what is stored")
            if episode.size_bytes != len(stored[key]):
                raise Broken(f"the line of {key} has another size")
        for promise in promised:
            key = (promise.host, promise.episode)
            if shas.get(key) != promise.sha256:
                raise Broken(f"{key} was acknowledged and is not stored")
            if key not in lines:
                raise Broken(f"{key} was acknowledged and is not in the index")
        if left := os.listdir(data / "incoming"):
            raise Broken(f"left in incoming/: {left}")

    def _whole(self, key: tuple[str, str], content: bytes) -> str:
        for sha256, (_, body) in self._bodies.items():
            if body == content:
                return sha256
        raise Broken(f"{key} is torn: {len(content)} bytes that nobody sent")

    @staticmethod
    def _lines(path: Path) -> dict[tuple[str, str], Episode]:
        lines: dict[tuple[str, str], Episode] = {}
        *whole, _ = path.read_bytes().split(b"\n")
        for number, line in enumerate(whole):
            try:
                episode = Episode.from_line(line)
            except ValueError as exc:
                if number == len(whole) - 1:
                    continue
                raise Broken(f"line {number} of the index is none: {line[:60]!r}") from exc
            key = (episode.host_id, episode.episode_id)
            if key in lines:
                raise Broken(f"{key} has two lines")
            lines[key] = episode
        return lines


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
        before = [
            Promise(step["host"], step["episode"], driver.archive_of(step).sha256)
            for step in what.before
            if step["do"] == "put"
        ]
        inspector = Inspector(what, scratch, before)
        count = 0
        for state in crash_states(recording, every_byte=every_byte):
            inspector.inspect(state)
            count += 1
        return count


def main() -> int:
    coarse = "--coarse" in sys.argv
    names = [name for name in sys.argv[1:] if name != "--coarse"] or [what.name for what in SCENARIOS]
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

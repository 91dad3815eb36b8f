"""Releases: the step of a driver that makes one, and whether what is promised of them holds in a state that a crash
left."""

from __future__ import annotations

import json
from pathlib import Path

from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import Selection
from cis490_receiver.index.base.releases import About
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.releases import ReleaseFolder
from tests.faults.support.beside import say
from tests.faults.support.course import START, Process, Scenario, Step, one
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.model import State
from tests.faults.support.recording import Recording, Said
from tests.faults.support.scenarios_beside import failing, meanwhile

NEXT = 9


def lines_of(number: int) -> list[bytes]:
    """The lines that the release number `number` is of: short, so that it is torn at each of its bytes."""
    return [b'{"host_id":"h","episode_id":"e%d"}\n' % place for place in range(number)]


def make(data: Path, name: str, number: int) -> None:
    lines = lines_of(number)
    about = About(created_at_wall="2026-11-25T00:00:00Z", filters={}, why=str(number), by="me")
    ReleaseFolder(data, LocalIndex(data)).create(name, Selection(iter(lines), number, 10 * number, 1), about)


def release(data: Path, step: Step) -> None:
    try:
        make(data, step["name"], step["number"])
        say(status="released", name=step["name"], number=step["number"])
    except ReceiverError as exc:
        say(status=exc.code)


STEPS = {"release": release}


def frozen(number: int, name: str = "first") -> Step:
    return {"do": "release", "name": name, "number": number}


_TABLE = "/.new.jsonl"
NO_LINKS = ("linkat:error=EPERM",)
RELEASES: tuple[Scenario, ...] = (
    one("release", (START,), (frozen(1),), "released", about="releases"),
    one(
        "release-of-a-name-that-is-taken",
        (START, frozen(1)),
        (frozen(2),),
        "release-exists",
        about="releases",
    ),
    Scenario(
        "release-after-one-without-its-table",
        (START,),
        # Its description is there, and nothing else.
        (Process((frozen(1),), ("linkat:signal=KILL:when=1",)), Process((frozen(2),))),
        ("released",),
        "releases",
    ),
    Scenario(
        "release-after-one-with-two-names",
        (START,),
        # The first unlink(2) makes room for the table, the second one for the description, the third is the last step.
        (Process((frozen(1),), ("unlink:signal=KILL:when=3",)), Process((frozen(2, "second"),))),
        ("released",),
        "releases",
    ),
    Scenario("release-no-links", (START,), (Process((frozen(1),), NO_LINKS),), ("released",), "releases"),
    one(
        "release-two-of-one-name",
        (START,),
        (meanwhile(frozen(1), frozen(2), "fsync", _TABLE),),
        *("released", "release-exists"),
        about="releases",
    ),
    *(
        Scenario(
            f"release-failed-sync-{number}",
            (START,),
            (Process((frozen(1), frozen(2)), failing("fsync", number)),),
            ("storage-failed", "released"),
            "releases",
        )
        # Of the description's entry, of the table's.
        for number in (5, 6)
    ),
)


class ReleaseInspector(Inspector):
    """A release is there whole, with its own description, or not at all; what was promised stays what it was."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        self._before = {step["name"]: step["number"] for step in what.before if step["do"] == "release"}

    def _inspect(self, state: State, data: Path) -> None:
        there = self._check(state, data)
        for name in sorted({"first", "second", "third"} - there.keys()):
            make(data, name, NEXT)
            there[name] = NEXT
        if self._check(state, data) != there:
            raise Broken("what was there changed")
        left = {path.name for path in (data / "releases").iterdir()}
        if left != {".lock", *(f"{name}{suffix}" for name in there for suffix in (".json", ".jsonl"))}:
            raise Broken(f"left behind: {left}")

    def _look(self, state: State, data: Path) -> None:
        self._check(state, data)

    def _check(self, state: State, data: Path) -> dict[str, int]:
        """The releases that are there, by their numbers."""
        told = [json.loads(item.text) for item in state.promises if isinstance(item, Said)]
        promised = self._before | {
            item["name"]: item["number"] for item in told if item["status"] == "released"
        }
        found = {}
        for one_of_them in ReleaseFolder(data, LocalIndex(data)).all():
            number = int(one_of_them.about.why or 0)
            table = (data / "releases" / f"{one_of_them.name}.jsonl").read_bytes()
            if table != b"".join(lines_of(number)) or one_of_them.episodes != number:
                raise Broken(f"{one_of_them.name} is torn, or described as another: {table!r}, {one_of_them}")
            found[one_of_them.name] = number
        if not promised.items() <= found.items():
            raise Broken(f"there are {found}, and {promised} were promised")
        return found

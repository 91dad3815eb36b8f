"""The steps of a driver that withdraw, and whether the promise about that holds in a state that a crash left."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cis490_receiver.errors import ReceiverError
from cis490_receiver.index import withdrawals
from cis490_receiver.index.withdrawals import WITHDRAWN_NAME, WithdrawalFile
from cis490_receiver.models import wall_time
from cis490_receiver.withdrawal import Withdrawal
from tests.faults.support.beside import BASE_NS, say
from tests.faults.support.course import Scenario
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.model import State
from tests.faults.support.recording import Recording, Said

Step = dict[str, Any]
#: What is withdrawn after the crash: one episode, and then some at once.
NEXT: tuple[Step, ...] = (
    {"do": "withdraw", "turn": 98, "numbers": [98]},
    {"do": "withdraw", "turn": 99, "numbers": [1, 2, 99], "undo": True},
)


def lines_of(step: Step) -> list[Withdrawal]:
    """What a step says; nothing else says the same."""
    at_ns = BASE_NS + step["turn"]
    spoilt = not step.get("undo", False)
    return [
        Withdrawal(wall_time(at_ns), at_ns, "host-a", f"ep-{number}", spoilt, "a bad commit", "someone")
        for number in step["numbers"]
    ]


def withdraw(data: Path, step: Step) -> None:
    try:
        WithdrawalFile(data).append(lines_of(step))
        say(status="withdrawn", turn=step["turn"])
    except ReceiverError as exc:
        say(status=exc.code, turn=step["turn"])


def tear_withdrawal(data: Path, step: Step) -> None:
    """A line that a crash tore."""
    with (data / WITHDRAWN_NAME).open("ab") as stream:
        stream.write(b'{"at_wall":"2027-01-')


STEPS: dict[str, Callable[[Path, Step], None]] = {
    function.__name__: function for function in (withdraw, tear_withdrawal)
}


class WithdrawalInspector(Inspector):
    """Withdrawals: what was said to be done is there, each step as a whole, and older lines are as they were."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        self._before = [step for step in what.before if step["do"] == "withdraw"]
        self._steps = [step for step in what.steps if step["do"] == "withdraw"]

    def _inspect(self, state: State, data: Path) -> None:
        there = self._check(state, data, self._before)
        for step in NEXT:
            WithdrawalFile(data).append(lines_of(step))
            there.append(step)
        if (data / f".{WITHDRAWN_NAME}.tmp").exists():
            raise Broken("something was left behind")
        lines = _lines(data)
        if found := self._check(state, data, there, lines):
            there = found
        known = [item.to_line() for step in there for item in lines_of(step)]
        if odd := [line for line in lines if line not in known]:
            raise Broken(f"the next one left {odd[0][:60]!r}")
        if (read := _read(data)) != (expected := _last_said(lines)):
            raise Broken(f"withdrawn are {sorted(read)}, and the last lines say {sorted(expected)}")

    def _look(self, state: State, data: Path) -> None:
        there = self._check(state, data, self._before)
        if failed := [
            step
            for step in there
            if any(item["turn"] == step["turn"] and item["status"] != "withdrawn" for item in _told(state))
        ]:
            raise Broken(f"was said to have failed, and is there: {failed}")

    def _check(
        self, state: State, data: Path, first: Sequence[Step], lines: list[bytes] | None = None
    ) -> list[Step]:
        """The steps that are there, `first` and what was told to be done among them, each as a whole."""
        lines = _lines(data) if lines is None else lines
        old = [item.to_line() for step in self._before for item in lines_of(step)]
        if lines[: len(old)] != old:
            raise Broken("older lines are not as they were")
        done = [item["turn"] for item in _told(state) if item["status"] == "withdrawn"]
        found = []
        for step in [*self._steps, *NEXT]:
            its = [item.to_line() for item in lines_of(step)]
            count = sum(line in lines for line in its)
            if count not in (0, len(its)):
                raise Broken(f"{count} of the {len(its)} lines of step {step['turn']} are there")
            if not count and (step in first or step["turn"] in done):
                raise Broken(f"step {step['turn']} was done, and is not there")
            if count:
                found.append(step)
        return found


def _told(state: State) -> list[dict[str, Any]]:
    return [json.loads(item.text) for item in state.promises if isinstance(item, Said)]


def _lines(data: Path) -> list[bytes]:
    """What a reader finds: what follows the last newline is left out."""
    path = data / WITHDRAWN_NAME
    return [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def _last_said(lines: list[bytes]) -> set[str]:
    said = {item.episode_id: item.withdrawn for item in map(Withdrawal.from_line, lines)}
    return {episode_id for episode_id, spoilt in said.items() if spoilt}


def _read(data: Path) -> set[str]:
    """What a catalog that begins now knows to be withdrawn."""
    connection = sqlite3.connect(":memory:")
    try:
        for statement in withdrawals.TABLES:
            connection.execute(statement)
        withdrawals.follow(connection, data / WITHDRAWN_NAME)
        return {row[0] for row in connection.execute("SELECT episode_id FROM main.withdrawn")}
    finally:
        connection.close()

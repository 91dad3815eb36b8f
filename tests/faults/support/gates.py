"""Whether the promise about the gate's list holds in a state that a crash left."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from cis490_receiver.backends import open_backends
from cis490_receiver.errors import GateUnavailable, ReceiverError
from cis490_receiver.policy.gate import VersionGate
from cis490_receiver.state.base.gate_list import GateSnapshot
from cis490_receiver.state.gate_list import GATE_FILE, GateFile
from tests.faults.support import beside
from tests.faults.support.course import Scenario
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.model import State
from tests.faults.support.recording import Recording, Said
from tests.gate.snapshots import commit_id

NEXT = 999


class GateInspector(Inspector):
    """The gate: the last list that was written, or a later one, whole; no receiver is ever without."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        self._numbers = [step["number"] for step in what.steps if step["do"] == "gate"]
        self._before = [step["number"] for step in what.before if step["do"] == "gate"]
        #: A receiver that was there all the time, and looks at every instant.
        self._running = VersionGate(
            GateFile(self._root / "data" / GATE_FILE, monotonic=itertools.count(step=10).__next__)
        )

    def _inspect(self, state: State, data: Path) -> None:
        self._check(state, data, VersionGate(GateFile(data / GATE_FILE)))
        beside.write_gate(data, NEXT)
        try:
            VersionGate(open_backends(beside.settings_of(data)).gate_list).check(commit_id(NEXT))
        except ReceiverError as exc:
            raise Broken(f"the next list is not in force: {exc.code}") from exc
        if left := [path.name for path in data.iterdir() if path.name.startswith(f".{GATE_FILE}")]:
            raise Broken(f"left behind: {left}")

    def _look(self, state: State, data: Path) -> None:
        self._check(state, data, VersionGate(GateFile(data / GATE_FILE)))
        self._check(state, data, self._running)

    def _check(self, state: State, data: Path, gate: VersionGate) -> None:
        told = [json.loads(item.text) for item in state.promises if isinstance(item, Said)]
        promised = self._before + [item["number"] for item in told if item["status"] == "refreshed"]
        try:
            head = gate.snapshot().head
        except GateUnavailable:
            if promised:
                raise Broken(f"503: no list is in force, after {promised}") from None
            return
        allowed = [number for number in self._numbers if number >= max(promised, default=0)]
        if head not in map(commit_id, allowed):
            raise Broken(f"the list in force is that of {head}, after {promised}")
        text = (data / GATE_FILE).read_bytes()
        if GateSnapshot.from_json(text).to_json() != text:
            raise Broken("the list in force is not as it was written")

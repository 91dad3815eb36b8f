"""Whether the promise about doctor reports holds in a state that a crash left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cis490_receiver.backends import open_backends
from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.base import ReportStore
from tests.faults.support.beside import BASE_NS, doctor_of, settings_of
from tests.faults.support.course import Scenario, Step, parts_of
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.model import State
from tests.faults.support.recording import Recording, Said

#: The report that comes after the crash.
NEXT = 99


class ReportInspector(Inspector):
    """Reports: of each host the last acknowledged one is there, or a later one, whole; the next one is taken."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        #: Each report with the number of its turn: those of one turn were sent at once.
        self._sent: list[tuple[int, Step]] = []
        for turn, step in enumerate(what.turns):
            self._sent += [(turn, part) for part in parts_of(step) if part["do"] == "report"]
        self._before = [step for step in what.before if step["do"] == "report"]

    def _inspect(self, state: State, data: Path) -> None:
        reports = _open(data)
        self._check(state, reports)
        hosts = sorted({step["host"] for _, step in self._sent})
        for host in hosts:
            try:
                reports.put(host, doctor_of({"number": NEXT}), BASE_NS + NEXT)
            except ReceiverError as exc:
                raise Broken(f"the next report is answered {exc.code}") from exc
        found = _listed(reports)
        if found != {host: doctor_of({"number": NEXT}) for host in hosts}:
            raise Broken(f"the next reports are not there: {found}")
        left = [path.name for path in (data / "host-health").rglob("*") if path.name.startswith(".")]
        if left:
            raise Broken(f"left behind: {left}")

    def _look(self, state: State, data: Path) -> None:
        if (data / "host-health" / "history").is_dir():
            self._check(state, _open(data))

    def _check(self, state: State, reports: ReportStore) -> None:
        found = _listed(reports)
        told = [json.loads(item.text) for item in state.promises if isinstance(item, Said)]
        for host in {step["host"] for _, step in self._sent}:
            sent = [(turn, step) for turn, step in self._sent if step["host"] == host]
            promised = {item["number"] for item in told if item["host"] == host and item["status"] == 200}
            promised |= {step["number"] for step in self._before if step["host"] == host}
            last = max((turn for turn, step in sent if step["number"] in promised), default=None)
            if last is None and host not in found:
                continue
            allowed = [doctor_of(step) for turn, step in sent if last is None or turn >= last]
            if host not in found:
                raise Broken(f"{host} has no report that can be read, after {sorted(promised)}")
            if found[host] not in allowed:
                raise Broken(f"the report of {host} is number {found[host].get('number')}, after {promised}")
            self._check_one(reports, host, found[host], promised)

    def _check_one(self, reports: ReportStore, host: str, doctor: dict[str, Any], promised: set[int]) -> None:
        if reports.get(host).doctor != doctor:
            raise Broken(f"the listing and the report of {host} differ")
        times = {past.received_at_ns % 10**9 for past in reports.history(host)}
        if not promised <= times <= {step["number"] for _, step in self._sent}:
            raise Broken(f"the history of {host} has {times}, after {promised}")


def _open(data: Path) -> ReportStore:
    """As a start does."""
    reports = open_backends(settings_of(data)).reports
    assert reports is not None
    return reports


def _listed(reports: ReportStore) -> dict[str, Any]:
    return {item["host_id"]: item["doctor"] for item in map(json.loads, reports.all_json())}

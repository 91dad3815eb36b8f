"""Whether the promise about doctor reports holds in a state that a crash left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from cis490_receiver import create_app
from tests.faults.support.beside import doctor_of, settings_of
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
        client = create_app(settings_of(data)).test_client()
        self._check(state, client)
        hosts = sorted({step["host"] for _, step in self._sent})
        for host in hosts:
            step = {"host": host, "number": NEXT}
            answer = client.put(f"/v1/host-health/{host}", json=doctor_of(step))
            if answer.status_code != 200:
                raise Broken(f"the next report is answered {answer.status_code}")
        found = self._listed(client)
        if found != {host: doctor_of({"number": NEXT}) for host in hosts}:
            raise Broken(f"the next reports are not there: {found}")
        left = [path.name for path in (data / "host-health").rglob("*") if path.name.startswith(".")]
        if left:
            raise Broken(f"left behind: {left}")

    def _look(self, state: State, data: Path) -> None:
        if (data / "host-health" / "history").is_dir():
            self._check(state, create_app(settings_of(data)).test_client())

    def _check(self, state: State, client: FlaskClient) -> None:
        found = self._listed(client)
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
            self._check_one(client, host, found[host], promised)

    def _check_one(self, client: FlaskClient, host: str, doctor: dict[str, Any], promised: set[int]) -> None:
        answer = client.get(f"/v1/host-health/{host}").get_json()
        if answer["doctor"] != doctor:
            raise Broken(f"the listing and the report of {host} differ")
        times = {past["received_at_ns"] % 10**9 for past in answer["history"]}
        if not promised <= times <= {step["number"] for _, step in self._sent}:
            raise Broken(f"the history of {host} has {times}, after {promised}")

    @staticmethod
    def _listed(client: FlaskClient) -> dict[str, Any]:
        answer = client.get("/v1/host-health")
        if answer.status_code != 200:
            raise Broken(f"the list of reports is answered {answer.status_code}")
        return {item["host_id"]: item["doctor"] for item in answer.get_json()["hosts"]}

"""Whether the promise about alerts holds in a state that a crash left."""

from __future__ import annotations

import json
from pathlib import Path

from cis490_receiver.state.base.alerts import RAISED, RECOVERED, Alert, hour_of
from cis490_receiver.state.outbox import OUTBOX_FILE
from tests.faults.support.beside import FixedClock, put_report, run_check
from tests.faults.support.course import Scenario
from tests.faults.support.inspecting import Broken, Inspector
from tests.faults.support.model import State
from tests.faults.support.recording import Recording, Said

#: State, host, symptom, hour.
Key = tuple[str, str, str, str]
FILES = ("alerts.1.jsonl", "alerts.jsonl")


class AlertInspector(Inspector):
    """Alerts: what somebody was told is on disk; each is raised once an hour, and not less for a crash."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        self._real = recording.real
        self._after = what.after
        self._minute = max(step["minute"] for step in what.steps if "minute" in step)
        start = [recording.contents[i] for (_, name), i in recording.entries.items() if name in FILES]
        #: What was raised and told before.
        self._before = {_key(line) for text in start for line in text.split(b"\n")[:-1]}

    def _build(self, state: State) -> None:
        """A file keeps its number over a crash, and what was sent is remembered by it."""
        super()._build(state)
        sent = self._root / "data" / OUTBOX_FILE
        if not sent.exists() or not sent.stat().st_size:
            return
        position = json.loads(sent.read_bytes())
        for path, (inode, _) in state.files.items():
            if Path(path).name in FILES and self._real.get(inode, position["inode"]) == position["inode"]:
                position["inode"] = (self._root / path).stat().st_ino
                break
        sent.write_text(json.dumps(position))

    def _inspect(self, state: State, data: Path) -> None:
        told = [json.loads(item.text) for item in state.promises if isinstance(item, Said)]
        hour = hour_of(FixedClock(self._minute).now_ns())
        announced = self._before | {(*item["alert"], hour) for item in told if "alert" in item}
        people = self._before | {(*item["alert"], hour) for item in told if item.get("to") == "people"}
        durable = set(_keys(data, torn_from=len(announced)))
        if lost := announced - durable:
            raise Broken(f"told and not on disk: {sorted(lost)}")
        for step in self._after:
            put_report(data, step)
        fresh, sent, current = _run(data, self._minute + 1)
        if again := durable & fresh:
            raise Broken(f"raised twice: {sorted(again)}")
        if again := sent & self._before:
            raise Broken(f"people were told anew: {sorted(again)}")
        lines = _keys(data)
        if len(lines) != len(set(lines)):
            raise Broken(f"on disk twice: {lines}")
        if unsent := set(lines) - people - sent:
            raise Broken(f"people were never told: {sorted(unsent)}")
        lasting = {key[1:3] for key in lines} - {key[1:3] for key in lines if key[0] == RECOVERED}
        if lasting != current:
            raise Broken(f"on disk is {lines}, and what lasts is {sorted(current)}")
        fresh, sent, _ = _run(data, self._minute + 2)
        if fresh or sent:
            raise Broken(f"raised or told twice: {sorted(fresh | sent)}")
        fresh, sent, current = _run(data, self._minute + 60)
        if {key[:3] for key in fresh} != {(RAISED, *item) for item in current} or sent != fresh:
            raise Broken(f"the next hour raised {sorted(fresh)} and told {sorted(sent)}")
        _keys(data)

    def _look(self, state: State, data: Path) -> None:
        """Whole lines, and at the end perhaps a part of one."""
        _keys(data)


def _run(data: Path, minute: int) -> tuple[set[Key], set[Key], set[tuple[str, str]]]:
    """What is new, what people are told, and what is wrong now."""
    sent: list[Key] = []
    hour = hour_of(FixedClock(minute).now_ns())

    def note(to: str, state: str, host: str, symptom: str) -> None:
        if to == "people":
            sent.append((state, host, symptom, hour))

    found = run_check(data, minute, note)
    if len(set(sent)) != len(sent):
        raise Broken(f"people were told twice at once: {sent}")
    fresh = {_key(alert.to_line()[:-1]) for alert in found.new_alerts}
    return fresh, set(sent), {(str(symptom.host_id), symptom.name) for symptom in found.findings.symptoms}


def _keys(data: Path, *, torn_from: int | None = None) -> list[Key]:
    """The alerts on disk, oldest first, as a reader finds them who leaves out what follows the last newline.

    Raises:
        Broken: a line is none, and not behind the first `torn_from` good ones, where a crash may leave some.
    """
    found: list[Key] = []
    for name in FILES:
        path = data / name
        for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
            try:
                found.append(_key(line))
            except ValueError:
                if torn_from is None or len(found) < torn_from:
                    raise Broken(f"no line, but a reader takes it for one: {line[:60]!r}") from None
    return found


def _key(line: bytes) -> Key:
    alert = Alert.from_line(line)
    if alert.to_line() != line + b"\n":
        raise ValueError("not as it was written")
    return alert.state, str(alert.host_id), alert.symptom, alert.hour

"""The steps of a driver that write beside the intake: reports, the gate's list, alerts, a new index.

Their times are fixed, so that a state can be looked at later as if no time had gone by.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cis490_receiver.backends import open_backends, use_backends
from cis490_receiver.commands import health_check
from cis490_receiver.config import Settings
from cis490_receiver.errors import ReceiverError
from cis490_receiver.index.renewal import SET_ASIDE_FILE
from cis490_receiver.index.reports import ReportFolder
from cis490_receiver.models import Episode, wall_time
from cis490_receiver.monitor import notify
from cis490_receiver.state.alerts import GENERATION_BYTES, AlertFile
from cis490_receiver.state.base.alerts import Alert, hour_of
from cis490_receiver.state.gate_list import GATE_FILE, GateFile
from cis490_receiver.upkeep.reindex import Reindexer
from tests.gate.snapshots import make_snapshot

MINUTE_NS = 60 * 10**9
#: The first instant of an hour.
BASE_NS = 500_000 * 60 * MINUTE_NS

Step = dict[str, Any]
#: Hears of an alert: to whom it is told, its state, host and symptom.
Note = Callable[[str, str, str, str], None]
APPRISE_SENDER = notify.apprise_sender


class FixedClock:
    """Always the same minute."""

    def __init__(self, minute: int) -> None:
        self._now_ns = BASE_NS + minute * MINUTE_NS

    def now_ns(self) -> int:
        return self._now_ns


def say(**answer: Any) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def settings_of(data: Path) -> Settings:
    """Alerts go to standard error and to a sender of people; no disk is ever low."""
    return Settings(data_dir=data, disk_reserve_bytes=0, syslog_address="", notify_urls=("json://x",))


# Reports.


def doctor_of(step: Step) -> dict[str, Any]:
    """What the report number `number` says, `size` bytes of it."""
    check = {"name": "disk", "status": "fail" if step.get("sick") else "ok"}
    return {"number": step["number"], "checks": [check], "text": "x" * step.get("size", 0)}


def put_report(data: Path, step: Step) -> None:
    folder = settings_of(data).reports_folder
    assert folder is not None
    ReportFolder(folder).put(step["host"], doctor_of(step), BASE_NS + step["number"])


def report(data: Path, step: Step) -> None:
    answer = {"host": step["host"], "number": step["number"]}
    try:
        put_report(data, step)
        say(**answer, status=200)
    except ReceiverError as exc:
        say(**answer, status=exc.code)


def open_report_folder(data: Path, step: Step) -> None:
    """What create_app does for the reports."""
    open_backends(settings_of(data))


# The gate.


def write_gate(data: Path, number: int) -> None:
    """What gate-refresh does when git has answered."""
    GateFile(data / GATE_FILE).replace(make_snapshot(number, number - 1, older=(number - 2,)))


def gate(data: Path, step: Step) -> None:
    try:
        write_gate(data, step["number"])
        say(status="refreshed", number=step["number"])
    except ReceiverError as exc:
        say(status=exc.code)


# Alerts.


class Told(logging.Handler):
    """Notes what goes to syslog, where there is none, at the moment at which it goes."""

    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        found = re.match(r"fleet-alert state=(\S+) symptom=(\S+) host=(\S+) ", record.getMessage())
        if found is not None:
            self._note("syslog", found[1], found[3], found[2])


@contextlib.contextmanager
def telling(note: Note) -> Iterator[None]:
    """`note` hears of each alert that is told to somebody: to whom, its state, host and symptom. Within
    another of these nothing changes."""

    def send(_title: str, body: str) -> bool:
        for line in body.splitlines():
            host, _, rest = line.partition(": ")
            symptom, _, what = rest.partition(" ")
            note("people", "recovered" if what.startswith("is over") else "raised", host, symptom)
        return True

    if notify.apprise_sender is not APPRISE_SENDER:
        yield
        return
    handler, logger = Told(note), logging.getLogger(notify.__name__)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    notify.apprise_sender = lambda urls: send
    try:
        yield
    finally:
        notify.apprise_sender = APPRISE_SENDER
        logger.removeHandler(handler)
        logger.setLevel(level)


def run_check(
    data: Path, minute: int, note: Note, *, generation_bytes: int = GENERATION_BYTES
) -> health_check.Pass:
    """A run of health-check at `minute`."""
    settings = settings_of(data)
    alerts = AlertFile(data, generation_bytes=generation_bytes)
    backends = dataclasses.replace(use_backends(settings), alerts=alerts)
    with telling(note):
        return health_check.health_check(settings, backends, FixedClock(minute))


def note_aloud(to: str, state: str, host: str, symptom: str) -> None:
    say(status=f"{state} to {to}", to=to, alert=[state, host, symptom])


def check(data: Path, step: Step) -> None:
    bound = step.get("generation_bytes", GENERATION_BYTES)
    found = run_check(data, step["minute"], note_aloud, generation_bytes=bound)
    for alert in found.new_alerts:
        note_aloud("stdout", alert.state, str(alert.host_id), alert.symptom)


def die_in_check(data: Path, step: Step) -> None:
    """A run that is killed when its lines are written and not synced."""
    os.fdatasync = lambda fd: os._exit(0)
    check(data, step)


def old_alert(data: Path, step: Step) -> None:
    """A line of `size` bytes of the day before."""
    now_ns = FixedClock(-1440).now_ns()
    alert = Alert(wall_time(now_ns), now_ns, hour_of(now_ns), "recovered", "host-o", "silent", "", "", "")
    text = "x" * (step["size"] - len(alert.to_line()))
    data.mkdir(exist_ok=True)
    (data / "alerts.jsonl").write_bytes(dataclasses.replace(alert, evidence=text).to_line())


def tear_alert(data: Path, step: Step) -> None:
    """A line that a crash tore."""
    with (data / "alerts.jsonl").open("ab") as stream:
        stream.write(b'{"at_wall":"2027-01-')


# The index.


def run_reindex(data: Path) -> None:
    backends = use_backends(settings_of(data))
    Reindexer(backends.index.renewal(FixedClock(0)), backends.store, jobs=1).run()


def reindex(data: Path, step: Step) -> None:
    try:
        run_reindex(data)
        say(status="reindexed")
    except ReceiverError as exc:
        say(status=exc.code)
    except OSError:
        say(status="failed")


def phantom_line(number: int) -> bytes:
    """A line of an episode that is not there."""
    return Episode.from_row(
        ("host-p", f"phantom-{number}", "0" * 64, 10, 2, None, None, None, "2026-01-02T03:04:05Z", 1)
    ).to_line()


def spoil(data: Path, step: Step) -> None:
    """Lose the lines of some episodes, and add some of none."""
    journal = data / "index.jsonl"
    kept = [
        line
        for line in journal.read_bytes().splitlines(keepends=True)
        if Episode.from_line(line).episode_id not in step.get("lose", ())
    ]
    journal.write_bytes(b"".join([phantom_line(1), *kept, b"no record\n", phantom_line(2)]))


def torn_set_aside(data: Path, step: Step) -> None:
    """A line set aside long ago, and one that a crash tore."""
    (data / SET_ASIDE_FILE).write_bytes(b'{"reason":"no-episode","line":"old"}\n{"reas')


_WRITERS = (report, open_report_folder, gate, reindex)
_MONITOR = (check, die_in_check, old_alert, tear_alert)
_DAMAGE = (spoil, torn_set_aside)
STEPS: dict[str, Callable[[Path, Step], None]] = {
    function.__name__: function for function in (*_WRITERS, *_MONITOR, *_DAMAGE)
}

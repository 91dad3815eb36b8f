"""What the page of a host says: its health, the branch of FIXYOURSELF.md, what changed; and alerts page by page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cis490_receiver.errors import BadRequest
from cis490_receiver.index.base import PastReport
from cis490_receiver.monitor.facts import HostFacts
from cis490_receiver.monitor.fix_yourself import BRANCHES, FIND, branch_for
from cis490_receiver.monitor.health import BAD, GRAVITY, OFF, OK, health_of
from cis490_receiver.monitor.host_story import changes_of
from cis490_receiver.monitor.symptoms import DOCTOR_FAILING, NAMES, SILENT, UNSTAMPED, Symptom
from cis490_receiver.state.alerts import ALERTS_FILE, PREVIOUS_FILE, AlertFile
from cis490_receiver.state.base.alerts import RAISED, Alert, hour_of
from cis490_receiver.state.base.notes import Mute, Retirement
from tests.gate.snapshots import commit_id, make_snapshot
from tests.support.receiver import ROOT

HOST = HostFacts(host_id="lab-1", last_stored_at_ns=5)


def symptom(name: str) -> Symptom:
    return Symptom("lab-1", name, 7, "seen", "do")


def test_a_host_is_as_well_as_the_worst_that_is_said_of_it() -> None:
    mute = Mute("lab-1", 9, "away")
    retired = HostFacts(host_id="lab-1", retired=Retirement("lab-1", 8, None, "sold"))
    both = [symptom(DOCTOR_FAILING), symptom(SILENT)]
    assert health_of(HOST, both, None).name == SILENT
    assert health_of(HOST, both, None).gravity == BAD
    assert (health_of(HOST, both, mute).name, health_of(HOST, both, mute).gravity) == ("muted", OFF)
    assert health_of(retired, both, mute).name == "retired"
    assert (health_of(HOST, [], None).name, health_of(HOST, [], None).gravity) == ("fine", OK)
    assert health_of(HostFacts(host_id="lab-1"), [], None).name == "never-shipped"


def test_every_symptom_of_a_host_has_its_gravity() -> None:
    own = {
        "disk-low",
        "gate-stale",
        "index-damaged",
        "episodes-missing",
        "episodes-unindexed",
        "clock-behind",
    }
    assert {*NAMES} - own - {"cannot-look"} <= GRAVITY.keys()


def test_the_commands_are_those_of_the_page() -> None:
    page = (ROOT / "FIXYOURSELF.md").read_text()
    parts = {part[0]: part for part in page.split("\n## ")[1:]}
    for letter, branch in BRANCHES.items():
        assert parts[letter].startswith(f"{letter}. {branch.title}\n")
        for command in branch.commands:
            assert command in parts[letter] + parts["1"] or command.startswith("cd "), command
    assert all(command in parts["1"] for command in FIND.commands)


@pytest.mark.parametrize(
    "refusal, commit, remedy, symptoms, letter",
    [
        ("commit-rejected", commit_id(7), None, [], "A"),
        ("commit-rejected", "f" * 40, None, [], ""),
        ("missing-commit", None, None, [], ""),
        (None, None, None, [UNSTAMPED], ""),
        ("commit-rejected", commit_id(7), "FIXYOURSELF.md, branch D (dirty work tree)", [], "D"),
        ("sha-mismatch", None, None, [SILENT], None),
        (None, None, "tell the maintainer", [], None),
    ],
)
def test_the_branch_that_fits(
    refusal: str | None, commit: str | None, remedy: str | None, symptoms: list[str], letter: str | None
) -> None:
    check = {"name": "orchestrator", "status": "fail", "remedy": remedy}
    found = branch_for(
        symptoms=[symptom(name) for name in symptoms],
        refusal=refusal,
        commit=commit,
        doctor={"checks": [check]} if remedy else None,
        gate=make_snapshot(9, 8, older=(7, 6)),
    )
    assert (found.letter if found else None) == letter


def test_what_changed_from_one_report_to_the_next() -> None:
    history = [
        PastReport("", number, failed)
        for number, failed in enumerate([(), ("disk",), ("disk",), ("disk", "kvm"), ("kvm",), ()])
    ]
    told = [(change.received_at_ns, change.failed, change.mended) for change in changes_of(history)]
    assert told == [(5, (), ("kvm",)), (4, (), ("disk",)), (3, ("kvm",), ()), (1, ("disk",), ())]


def alert(number: int) -> Alert:
    evidence = "x" * (number * 997 % 5000)
    return Alert("2026-11-24T00:00:00Z", number, hour_of(number), RAISED, "lab-1", SILENT, "", evidence, "")


def page_through(log: AlertFile, limit: int, cursor: str | None = None) -> list[int]:
    found: list[int] = []
    given: set[str] = set()
    while True:
        page = log.page(limit=limit, cursor=cursor)
        found += [item.at_ns for item in page.alerts]
        cursor = page.next
        if cursor is None:
            return found
        assert cursor not in given, f"a page that came before comes again: {found}"
        given.add(cursor)


def test_alerts_are_paged_over_both_files_and_past_what_is_no_alert(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    assert page_through(log, 3) == []
    lines = [alert(number).to_line() for number in range(300)]
    lines[40:40] = [b"torn\n", b"y" * 700_000 + b"\n", b"\n"]
    (tmp_path / PREVIOUS_FILE).write_bytes(b"".join(lines[:150]))
    (tmp_path / ALERTS_FILE).write_bytes(b"".join(lines[150:]) + b'{"torn')
    for limit in (1, 7, 1000):
        assert page_through(log, limit) == [*range(299, -1, -1)]


def test_a_cursor_stays_good_while_alerts_come_and_the_file_is_put_aside(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    path = tmp_path / ALERTS_FILE
    path.write_bytes(b"".join(alert(number).to_line() for number in range(20)))
    first = log.page(limit=5, cursor=None)
    with path.open("ab") as stream:
        stream.write(alert(20).to_line())
    os.rename(path, tmp_path / PREVIOUS_FILE)
    path.write_bytes(alert(21).to_line())
    assert page_through(log, 4, first.next) == [*range(14, -1, -1)]
    (tmp_path / PREVIOUS_FILE).unlink()
    assert page_through(log, 4, first.next) == []
    for bad in ("", "x", "MQ", "MS4tMQ", "é", "A" * 200):
        with pytest.raises(BadRequest):
            log.page(limit=1, cursor=bad)

"""`upkeep.migrate.records`: what is kept beside episodes, moved from each place to the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import StorageFailed
from cis490_receiver.models import EpisodeKey
from cis490_receiver.state.base.alerts import Alert
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot
from cis490_receiver.state.base.inspections import Inspected, Mark
from cis490_receiver.state.base.notes import Mute, Retirement
from cis490_receiver.state.base.tokens import Token
from cis490_receiver.upkeep.migrate.records import copy_records
from cis490_receiver.withdrawal import Withdrawal
from tests.contract.places import HOUR_NS, IMPLEMENTATIONS, NOW_NS, Place
from tests.contract.test_alerts import alert, note
from tests.contract.test_rejections import fact
from tests.contract.test_reports import doctor, reports_of

COMMIT = "c" * 40
LIST = GateSnapshot("repo", "main", COMMIT, 1, (GateCommit(COMMIT, "2026-01-01", "x"),), (), "then", NOW_NS)


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    folder = tmp_path / "other"
    folder.mkdir()
    return IMPLEMENTATIONS[request.param](folder / "data")


def withdrawal(number: int) -> Withdrawal:
    return Withdrawal("then", NOW_NS, "host", f"e{number}", True, "why", "me")


def fill(backends: Backends) -> None:
    backends.withdrawals.append([withdrawal(0), withdrawal(1)])
    backends.mutes.set(Mute("quiet", NOW_NS + HOUR_NS, "away"), NOW_NS)
    backends.retirements.set(Retirement("gone", NOW_NS, None, "sold"))
    backends.faults.write({"a": [1]})
    backends.verify_place.write("here")
    backends.inspections.write(Inspected(Mark("g", 1, 2, 1, 3), (), (EpisodeKey("host", "e9"),)))
    backends.gate_list.replace(LIST)
    assert backends.tokens is not None
    backends.tokens.change(lambda before: [Token("t", "0" * 64, "lab-*", frozenset({"ship"}))])
    for number in range(3):
        reports_of(backends).put("host", doctor(number), NOW_NS + number * HOUR_NS)
        for status in (422, 200):
            backends.rejections.record(fact(number, status=status))


def copy(origin: Place, destination: Place) -> None:
    copy_records(origin.open(), destination.open(), now_ns=NOW_NS, since_ns=NOW_NS + 1)


def sent_by(backends: Backends) -> list[Alert]:
    sent: list[Alert] = []

    def send(alerts: Sequence[Alert]) -> bool:
        sent.extend(alerts)
        return True

    assert backends.outbox.deliver(send, after_ns=0)
    return sent


def test_everything_comes_along_and_nothing_comes_twice(place: Place, destination: Place) -> None:
    fill(place.open())
    copy(place, destination)
    # What was added and ended since.
    changed = place.open()
    changed.withdrawals.append([withdrawal(2)])
    changed.mutes.end("quiet", NOW_NS)
    changed.retirements.end("gone")
    reports_of(changed).put("host", doctor(3), NOW_NS + 3 * HOUR_NS)
    changed.rejections.record(fact(3))
    copy(place, destination)
    copy(place, destination)
    ours, theirs = place.open(), destination.open()
    assert list(theirs.withdrawals.items()) == [withdrawal(number) for number in range(3)]
    assert theirs.mutes.active(NOW_NS) == {} and theirs.retirements.all() == {}
    assert theirs.faults.read() == {"a": [1]} and theirs.verify_place.read() == "here"
    assert theirs.release_verify_place.read() is None
    assert theirs.inspections.read() == ours.inspections.read() != Inspected()
    assert theirs.gate_list.read() == LIST
    assert ours.tokens is not None and theirs.tokens is not None
    assert list(theirs.tokens.all()) == list(ours.tokens.all()) != []
    assert reports_of(theirs).get("host") == reports_of(ours).get("host")
    assert list(reports_of(theirs).history("host")) == list(reports_of(ours).history("host"))
    assert len(reports_of(theirs).history("host")) == 4
    # Nothing from before the moment that was named.
    assert list(theirs.rejections.since(0)) == [
        fact(3),
        fact(2),
        fact(1),
        fact(2, status=200),
        fact(1, status=200),
    ]


def test_people_are_told_of_what_they_were_not_told_and_of_nothing_twice(
    place: Place, destination: Place
) -> None:
    origin = place.open()
    lasting = {("host", "s1"): "then"}
    note(origin, alert(0), alert(1))
    assert sent_by(origin) == [alert(0), alert(1)]
    note(origin, alert(2), alert(3), lasting=lasting)
    copy(place, destination)
    copy(place, destination)
    assert note(destination.open()) == [alert(3), alert(2), alert(1), alert(0)]
    assert destination.open().alerts.lasting() == lasting
    assert sent_by(destination.open()) == [alert(2), alert(3)]
    assert sent_by(destination.open()) == []


def test_other_withdrawals_are_not_mixed_with(place: Place, destination: Place) -> None:
    place.open().withdrawals.append([withdrawal(0)])
    destination.open().withdrawals.append([withdrawal(5)])
    with pytest.raises(StorageFailed, match="begin with an empty destination"):
        copy(place, destination)

"""`state.base.alerts`: what was raised, and what of it people were told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import BadRequest
from cis490_receiver.models import wall_time
from cis490_receiver.state.base.alerts import RAISED, Alert, Key, Verdict, hour_of
from tests.contract.places import HOUR_NS, NOW_NS, SECOND_NS, Place, in_a_process_that_dies, in_processes


def alert(number: int, host_id: str | None = "host") -> Alert:
    at_ns = NOW_NS + number * SECOND_NS
    return Alert(wall_time(at_ns), at_ns, hour_of(at_ns), RAISED, host_id, f"s{number}", "", "", "")


def note(backends: Backends, *new: Alert, lasting: Mapping[Key, str] | None = None) -> list[Alert]:
    """Note alerts; gives those that had been noted."""
    noted: list[Alert] = []

    def judge(before: Mapping[Key, str], alerts: Iterable[Alert]) -> Verdict:
        noted.extend(alerts)
        return Verdict(new, before if lasting is None else lasting)

    assert backends.alerts.update(judge).new == new
    return noted


def test_a_run_sees_what_those_before_it_noted(place: Place, backends: Backends) -> None:
    assert note(backends, alert(0), alert(1)) == []
    assert note(place.open(), alert(2, None)) == [alert(1), alert(0)]
    assert note(place.open()) == [alert(2, None), alert(1), alert(0)]


def test_what_lasts_is_kept_for_the_next_run(place: Place, backends: Backends) -> None:
    assert backends.alerts.lasting() == {}
    lasting: dict[Key, str] = {("host", "sick"): "since", (None, "disk-low"): "then"}
    note(backends, lasting=lasting)
    assert place.open().alerts.lasting() == lasting
    note(backends, alert(0))
    assert place.open().alerts.lasting() == lasting
    note(backends, lasting={})
    assert place.open().alerts.lasting() == {}


def test_a_run_that_fails_leaves_nothing(backends: Backends) -> None:
    def judge(before: Mapping[Key, str], alerts: Iterable[Alert]) -> Verdict:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        backends.alerts.update(judge)
    assert note(backends) == []


def raise_unless_noted(place: Place) -> None:
    alerts = place.open().alerts
    for wanted in map(alert, range(50)):
        alerts.update(partial(unless_noted, wanted))


def unless_noted(wanted: Alert, before: Mapping[Key, str], noted: Iterable[Alert]) -> Verdict:
    return Verdict([] if wanted in list(noted) else [wanted], before)


def test_runs_at_once_raise_nothing_twice(place: Place) -> None:
    in_processes(raise_unless_noted, [(place,), (place,)])
    assert note(place.open()) == [alert(number) for number in range(49, -1, -1)]


def die_in_a_run(place: Place) -> None:
    def judge(before: Mapping[Key, str], alerts: Iterable[Alert]) -> Verdict:
        os._exit(9)

    place.open().alerts.update(judge)


def test_a_dead_run_keeps_nobody_waiting(place: Place) -> None:
    in_a_process_that_dies(die_in_a_run, place)
    assert note(place.open(), alert(0)) == []


class People:
    """Who is told; `takes` is whether they take it."""

    def __init__(self) -> None:
        self.takes = True
        self.told: list[list[Alert]] = []

    def send(self, alerts: Sequence[Alert]) -> bool:
        self.told.append(list(alerts))
        return self.takes


def test_each_alert_is_sent_once_when_it_is_taken(place: Place, backends: Backends) -> None:
    people, after_ns = People(), NOW_NS - HOUR_NS
    assert backends.outbox.deliver(people.send, after_ns=after_ns)
    assert people.told == []
    note(backends, alert(0), alert(1))
    people.takes = False
    assert not backends.outbox.deliver(people.send, after_ns=after_ns)
    people.takes = True
    assert place.open().outbox.deliver(people.send, after_ns=after_ns)
    assert place.open().outbox.deliver(people.send, after_ns=after_ns)
    note(backends, alert(2))
    assert place.open().outbox.deliver(people.send, after_ns=NOW_NS + HOUR_NS)
    assert people.told == [[alert(0), alert(1)], [alert(0), alert(1)], [alert(2)]]


def test_with_nothing_sent_before_old_alerts_are_history(backends: Backends) -> None:
    people = People()
    note(backends, alert(0), alert(10))
    assert backends.outbox.deliver(people.send, after_ns=NOW_NS + 5 * SECOND_NS)
    assert people.told == [[alert(10)]]


def test_while_one_sends_another_does_not(place: Place, backends: Backends) -> None:
    note(backends, alert(0))
    other, inner = People(), place.open().outbox

    def send(alerts: Sequence[Alert]) -> bool:
        assert inner.deliver(other.send, after_ns=0)
        return True

    assert backends.outbox.deliver(send, after_ns=0)
    assert other.told == []


def test_pages_are_newest_first_and_a_cursor_stays_good_while_alerts_are_raised(
    place: Place, backends: Backends
) -> None:
    note(backends, *map(alert, range(5)))
    first = backends.alerts.page(limit=2, cursor=None)
    assert list(first.alerts) == [alert(4), alert(3)]
    note(backends, alert(5))
    second = place.open().alerts.page(limit=2, cursor=first.next)
    assert list(second.alerts) == [alert(2), alert(1)]
    last = backends.alerts.page(limit=2, cursor=second.next)
    assert list(last.alerts) == [alert(0)] and last.next is None
    with pytest.raises(BadRequest):
        backends.alerts.page(limit=2, cursor="!")

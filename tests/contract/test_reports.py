"""`index.base.ReportStore`: the latest report of each host, and a short history."""

from __future__ import annotations

from typing import Any

import pytest

from cis490_receiver.backends import Backends
from cis490_receiver.errors import NotFound, ReportNotJson, ReportNotObject
from cis490_receiver.index.base import ReportStore
from tests.contract.places import HOUR_NS, NOW_NS, Place, in_processes


def reports_of(backends: Backends) -> ReportStore:
    assert backends.reports is not None
    return backends.reports


def doctor(number: int) -> dict[str, Any]:
    return {"number": number, "checks": [{"name": "disk", "status": "fail" if number % 2 else "ok"}]}


def test_the_latest_stands_and_those_before_are_history(place: Place, backends: Backends) -> None:
    for number in range(3):
        reports_of(backends).put("host", doctor(number), NOW_NS + number * HOUR_NS)
    reports = reports_of(place.open())
    assert reports.get("host").doctor == doctor(2)
    assert [past.failed for past in reports.history("host")] == [(), ("disk",), ()]
    assert [past.received_at_ns for past in reports.history("host")] == [
        NOW_NS + n * HOUR_NS for n in range(3)
    ]
    reports.put("host", doctor(3), NOW_NS + 31 * 24 * HOUR_NS)
    assert len(reports.history("host")) == 1


def test_hosts_are_sorted_and_who_never_reported_is_not_found(backends: Backends) -> None:
    reports = reports_of(backends)
    for host_id in ("b", "c", "a"):
        reports.put(host_id, doctor(0), NOW_NS)
    assert [report.host_id for report in reports.all()] == ["a", "b", "c"]
    assert len(list(reports.all_json())) == 3
    assert list(reports.history("d")) == []
    with pytest.raises(NotFound):
        reports.get("d")


def put_many(place: Place, first: int) -> None:
    reports = reports_of(place.open())
    for number in range(first, first + 50):
        reports.put("host", doctor(number), NOW_NS + number)


def test_processes_at_once_lose_no_history(place: Place) -> None:
    in_processes(put_many, [(place, 0), (place, 50)])
    reports = reports_of(place.open())
    assert sorted(past.received_at_ns - NOW_NS for past in reports.history("host")) == list(range(100))
    assert reports.get("host").doctor["number"] in (49, 99)


def test_what_is_no_report_is_refused(backends: Backends) -> None:
    reports = reports_of(backends)
    assert reports.parse(b'{"checks": []}') == {"checks": []}
    with pytest.raises(ReportNotJson):
        reports.parse(b'{"a": NaN}')
    with pytest.raises(ReportNotObject):
        reports.parse(b"[]")

"""`index.base.RejectionLog`: facts that are worth having, and worth no wait."""

from __future__ import annotations

from cis490_receiver.backends import Backends
from cis490_receiver.models import Rejection, wall_time
from tests.contract.places import NOW_NS, SECOND_NS, Place, in_processes


def fact(number: int, *, status: int = 422, authenticated: bool = True, host_id: str = "host") -> Rejection:
    at_ns = NOW_NS + number * SECOND_NS
    return Rejection(
        received_at_wall=wall_time(at_ns),
        received_at_ns=at_ns,
        host_id=host_id,
        episode_id=f"e{number}",
        status=status,
        code="commit-rejected",
        code_commit=None,
        authenticated=authenticated,
    )


def test_each_kind_is_told_newest_first_since_a_moment(place: Place, backends: Backends) -> None:
    for number in range(6):
        backends.rejections.record(fact(number))
        backends.rejections.record(fact(number, status=200))
        backends.rejections.record(fact(number, status=401, authenticated=False))
    found = list(place.open().rejections.since(NOW_NS + 2 * SECOND_NS))
    for status in (422, 200, 401):
        of_kind = [item for item in found if item.status == status]
        assert of_kind == [fact(n, status=status, authenticated=status != 401) for n in (5, 4, 3, 2)]
    assert not list(backends.rejections.since(NOW_NS + 6 * SECOND_NS))


def record_many(place: Place, host_id: str) -> None:
    rejections = place.open().rejections
    for number in range(100):
        rejections.record(fact(number, host_id=host_id))


def test_processes_at_once_spoil_nothing(place: Place) -> None:
    in_processes(record_many, [(place, "one"), (place, "two")])
    found = list(place.open().rejections.since(0))
    for host_id in ("one", "two"):
        assert [item for item in found if item.host_id == host_id] == [
            fact(number, host_id=host_id) for number in range(99, -1, -1)
        ]


def test_a_flood_without_a_token_evicts_nothing_else(backends: Backends) -> None:
    backends.rejections.record(fact(0))
    for number in range(2000):
        backends.rejections.record(fact(number, status=401, authenticated=False))
    found = list(backends.rejections.since(0))
    assert fact(0) in found and len(found) < 200

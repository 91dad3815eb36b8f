"""`index.base.WithdrawalLog`: what is not to be trained on."""

from __future__ import annotations

from cis490_receiver.backends import Backends
from cis490_receiver.models import wall_time
from cis490_receiver.withdrawal import Withdrawal
from tests.contract.places import NOW_NS, Place, in_processes


def item(number: int, host_id: str = "host", *, withdrawn: bool = True) -> Withdrawal:
    at_ns = NOW_NS + number
    return Withdrawal(wall_time(at_ns), at_ns, host_id, f"e{number}", withdrawn, "spoilt", "somebody")


def test_all_that_was_said_stays_in_its_order(place: Place, backends: Backends) -> None:
    assert list(backends.withdrawals.items()) == []
    backends.withdrawals.append([item(2), item(1)])
    backends.withdrawals.append([item(2, withdrawn=False)])
    assert list(place.open().withdrawals.items()) == [item(2), item(1), item(2, withdrawn=False)]


def say_much(place: Place, host_id: str) -> None:
    withdrawals = place.open().withdrawals
    for number in range(0, 60, 2):
        withdrawals.append([item(number, host_id), item(number + 1, host_id)])


def test_what_is_said_at_once_stays_together(place: Place) -> None:
    in_processes(say_much, [(place, "one"), (place, "two")])
    found = list(place.open().withdrawals.items())
    assert len(found) == 120
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(first.host_id == second.host_id for first, second in pairs)
    for host_id in ("one", "two"):
        assert [f for f in found if f.host_id == host_id] == [item(n, host_id) for n in range(60)]

"""`state.base.notes`: what people say about hosts."""

from __future__ import annotations

from cis490_receiver.backends import Backends
from cis490_receiver.state.base.notes import Mute, Retirement
from tests.contract.places import HOUR_NS, NOW_NS, Place, in_processes


def test_a_mute_holds_until_it_is_over_ended_or_replaced(place: Place, backends: Backends) -> None:
    mutes = backends.mutes
    assert mutes.active(NOW_NS) == {}
    short, long = (
        Mute("a", NOW_NS + HOUR_NS, "moved"),
        Mute("b", NOW_NS + 2 * HOUR_NS, "é, newlines\nand all"),
    )
    mutes.set(short, NOW_NS)
    mutes.set(long, NOW_NS)
    assert place.open().mutes.active(NOW_NS) == {"a": short, "b": long}
    assert place.open().mutes.active(NOW_NS + HOUR_NS) == {"b": long}
    again = Mute("a", NOW_NS + 3 * HOUR_NS, "still")
    mutes.set(again, NOW_NS)
    assert mutes.active(NOW_NS)["a"] == again
    assert mutes.end("a", NOW_NS) and not mutes.end("a", NOW_NS)
    assert place.open().mutes.active(NOW_NS) == {"b": long}


def test_a_retirement_stands_until_it_is_ended(place: Place, backends: Backends) -> None:
    retirements = backends.retirements
    never, once = Retirement("a", NOW_NS, None, "sold"), Retirement("b", NOW_NS, NOW_NS - HOUR_NS, "lost")
    retirements.set(never)
    retirements.set(once)
    assert place.open().retirements.all() == {"a": never, "b": once}
    retirements.end("a")
    retirements.end("nobody")
    assert place.open().retirements.all() == {"b": once}


def say_much(place: Place, prefix: str) -> None:
    backends = place.open()
    for number in range(20):
        backends.mutes.set(Mute(f"{prefix}{number}", NOW_NS + HOUR_NS, ""), NOW_NS)
        backends.retirements.set(Retirement(f"{prefix}{number}", NOW_NS, None, ""))
    backends.mutes.end(f"{prefix}0", NOW_NS)
    backends.retirements.end(f"{prefix}0")


def test_processes_at_once_undo_nothing_of_each_other(place: Place) -> None:
    in_processes(say_much, [(place, "a"), (place, "b")])
    backends = place.open()
    expected = {f"{prefix}{number}" for prefix in "ab" for number in range(1, 20)}
    assert set(backends.mutes.active(NOW_NS)) == set(backends.retirements.all()) == expected

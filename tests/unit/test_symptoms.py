"""Each rule just before, at and after its boundary."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cis490_receiver.config import Settings
from cis490_receiver.index.base import HostSummary
from cis490_receiver.models import EpisodeKey, Rejection
from cis490_receiver.monitor.diagnosis import diagnose
from cis490_receiver.monitor.facts import Facts, HostFacts, ReceiverFacts, gather
from cis490_receiver.monitor.presence import Presence
from cis490_receiver.monitor.states import count_states
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot
from cis490_receiver.state.base.inspections import Example, Trouble
from cis490_receiver.state.base.notes import Retirement

NOW = 1_800_000_000 * 10**9
SECOND, MINUTE, HOUR = 10**9, 60 * 10**9, 3600 * 10**9
COMMIT = "c" * 40
WELL = ReceiverFacts(free_bytes=1 << 50, gate=None, bad_lines=0)


def trouble(kind: str, last_ns: int = NOW) -> Trouble:
    return Trouble("h", kind, 5, last_ns - HOUR, last_ns, (Example("e5", "detail"),))


class Index:
    """As much of an index as the monitor asks."""

    def __init__(self, hosts: list[HostSummary]) -> None:
        self._hosts = hosts

    def hosts(self) -> list[HostSummary]:
        return self._hosts

    def unstamped_since(self, ns: int) -> dict[str, int]:
        return {}

    def bad_lines(self) -> int:
        return 0


class Store:
    """As much of a store as the monitor asks."""

    def free_bytes(self) -> int:
        return 1 << 50


class Rejections:
    """Refusals that are at hand."""

    def __init__(self, facts: list[Rejection]) -> None:
        self._facts = facts

    def since(self, ns: int) -> list[Rejection]:
        return self._facts


def host(**facts: Any) -> HostFacts:
    stamped: dict[str, Any] = {"last_code_commit": COMMIT} if facts.get("last_stored_at_ns") else {}
    given = stamped | facts
    if given.get("last_stored_at_ns") is not None:
        given.setdefault("first_stored_at_ns", given["last_stored_at_ns"])
    return HostFacts(host_id="h", **given)


def names(one: HostFacts | None = None, receiver: ReceiverFacts = WELL, **settings: Any) -> list[str]:
    hosts = () if one is None else (one,)
    found = diagnose(
        Facts(now_ns=NOW, hosts=hosts, receiver=receiver), dataclasses.replace(Settings(), **settings)
    )
    for symptom in found:
        assert symptom.evidence and symptom.remedy
        assert symptom.since_ns <= NOW + HOUR
    return [symptom.name for symptom in found]


def gate(count: int = 20, window: int = 20, age_ns: int = 0) -> GateSnapshot:
    commits = tuple(GateCommit(f"{number:040x}", "", "") for number in range(count))
    return GateSnapshot("r", "origin/main", commits[0].commit, window, commits, (), "", NOW - age_ns)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (-5 * MINUTE, []),  # stored in the future: the clock was set back
        (-5 * MINUTE - 1, ["clock-behind"]),
        (0, []),
        (29 * MINUTE + 59 * SECOND, []),
        (30 * MINUTE, []),
        (30 * MINUTE + 1, ["silent"]),
        (24 * HOUR - 1, ["silent"]),
        (24 * HOUR, ["silent"]),
        (24 * HOUR + 1, ["gone"]),
        (24 * 365 * HOUR, ["gone"]),
    ],
)
def test_silent_and_behind_it_gone(age: int, expected: list[str]) -> None:
    assert names(host(last_stored_at_ns=NOW - age)) == expected
    # A refused upload, or a repeat, is a sign of life too.
    others = names(host(last_stored_at_ns=NOW - age, last_other_at_ns=NOW, report_at_ns=NOW))
    assert others == [name for name in expected if name == "clock-behind"]
    assert names(host(last_stored_at_ns=1, last_other_at_ns=NOW - age, report_at_ns=NOW)) == expected
    # The host that was only ever refused and then went quiet is silent as well, and was never there to be gone.
    assert names(host(last_other_at_ns=NOW - age)) == [name for name in expected if name != "gone"]


def test_of_a_retired_host_nothing_is_raised_until_it_ships_again() -> None:
    def found(retired_ns: int, last_stored_ns: int, known_ns: int | None = None) -> list[str]:
        facts = gather(
            now_ns=NOW,
            settings=Settings(),
            index=Index([HostSummary("h", 0, last_stored_ns, 1, 1, "e", None)]),
            store=Store(),
            rejections=Rejections([Rejection("", NOW, "h", "e", 412, "commit-rejected", None, True)]),
            reports=None,
            gate=None,
            retirements={"h": Retirement("h", retired_ns, known_ns or last_stored_ns, "sold")},
        )
        return [symptom.name for symptom in diagnose(facts, Settings())]

    assert found(NOW - HOUR, NOW - HOUR) == []
    assert found(NOW - HOUR, NOW - HOUR + 1, NOW - 9 * HOUR) == ["doctor-stale", "fatal-only"]
    # Its last episode came by a clock that was ahead: the next one counts.
    assert found(NOW - HOUR, NOW + HOUR) == []
    assert "unstamped" in found(NOW - HOUR, NOW + HOUR, NOW + HOUR - 1)


def test_the_states_of_hosts_add_up() -> None:
    retired = Retirement("h", NOW, None, "sold")
    fleet = [
        host(last_stored_at_ns=NOW - 30 * MINUTE),
        host(last_stored_at_ns=NOW - 30 * MINUTE - 1),
        host(last_stored_at_ns=NOW - 24 * HOUR),
        host(last_stored_at_ns=NOW - 24 * HOUR - 1),
        host(last_stored_at_ns=NOW - 24 * HOUR - 1, retired=retired),
        host(report_at_ns=NOW),
        dataclasses.replace(host(last_stored_at_ns=NOW, retired=retired), host_id="m"),
        dataclasses.replace(host(last_stored_at_ns=NOW), host_id="m"),
    ]
    counts = count_states(Facts(now_ns=NOW, hosts=tuple(fleet), receiver=WELL), Settings(), {"m"})
    expected = {"active": 1, "silent": 2, "gone": 1, "retired": 2, "never-shipped": 1, "muted": 1}
    assert counts == expected


def test_silent_follows_its_settings() -> None:
    quiet = host(last_stored_at_ns=NOW - 6 * MINUTE)
    assert names(quiet) == []
    assert names(quiet, silent_after_minutes=5) == ["silent"]
    assert names(host(last_stored_at_ns=NOW - 1 * HOUR), lookback_hours=1) == ["silent"]
    assert names(host(last_stored_at_ns=NOW - 1 * HOUR - 1), lookback_hours=1) == ["gone"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"recent_refusals": {"commit-rejected": 1}}, ["fatal-only"]),
        ({"recent_refusals": {"commit-rejected": 9, "conflict": 1}}, ["fatal-only"]),
        ({"recent_refusals": {"commit-rejected": 9}, "recent_good": 1}, []),
        ({"recent_refusals": {"commit-rejected": 9, "storage-full": 1}, "recent_server_errors": 1}, []),
        ({"recent_refusals": {}}, []),
        ({"recent_refusals": {"missing-commit": 2}, "recent_unstamped": 2}, ["unstamped", "fatal-only"]),
    ],
)
def test_fatal_only(facts: dict[str, Any], expected: list[str]) -> None:
    assert names(host(last_other_at_ns=NOW, first_recent_refusal_at_ns=NOW, **facts)) == expected


def test_who_has_no_token_is_refused_and_is_no_sign_of_life() -> None:
    fact = Rejection("", NOW, "h", "e", 401, "bad-bearer-token", None, authenticated=False)
    long_silent = HostSummary("h", 0, NOW - 20 * HOUR, 1, 1, "e", COMMIT)
    facts = gather(
        now_ns=NOW,
        settings=Settings(),
        index=Index([long_silent]),
        store=Store(),
        rejections=Rejections([fact, dataclasses.replace(fact, host_id="invented")]),
        reports=None,
        gate=None,
    )
    assert [one.host_id for one in facts.hosts] == ["h"]
    found = [symptom.name for symptom in diagnose(facts, dataclasses.replace(Settings(), health_dir=""))]
    assert found == ["silent", "fatal-only"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"last_stored_at_ns": NOW}, []),
        ({"last_stored_at_ns": NOW, "last_code_commit": None}, ["unstamped"]),
        ({"last_stored_at_ns": NOW, "recent_unstamped": 1}, ["unstamped"]),
        ({"last_stored_at_ns": NOW - 23 * HOUR, "last_code_commit": None}, ["silent", "unstamped"]),
        ({"last_stored_at_ns": NOW - 25 * HOUR, "last_code_commit": None}, ["gone"]),
        ({"last_other_at_ns": NOW, "unstamped_refusal_at_ns": NOW}, ["unstamped"]),
        ({"last_stored_at_ns": NOW, "unstamped_refusal_at_ns": NOW - 1}, []),
        (
            {"last_stored_at_ns": NOW - 1, "last_other_at_ns": NOW, "unstamped_refusal_at_ns": NOW},
            ["unstamped"],
        ),
    ],
)
def test_unstamped(facts: dict[str, Any], expected: list[str]) -> None:
    assert names(host(**facts)) == expected


@pytest.mark.parametrize(
    ("report_age", "failed", "expected"),
    [
        (0, ("disk",), ["doctor-failing"]),
        (48 * HOUR, ("disk",), ["doctor-failing"]),
        (48 * HOUR + 1, ("disk",), ["doctor-stale"]),
        (48 * HOUR, (), []),
        (48 * HOUR + 1, (), ["doctor-stale"]),
    ],
)
def test_doctor(report_age: int, failed: tuple[str, ...], expected: list[str]) -> None:
    reporting = host(last_stored_at_ns=NOW, report_at_ns=NOW - report_age, report_failed=failed)
    assert names(reporting) == expected
    # A host that does not ship owes no report; that it fails is worth knowing all the same.
    idle = dataclasses.replace(reporting, last_stored_at_ns=None)
    assert names(idle) == [name for name in expected if name == "doctor-failing"]


def test_a_host_that_never_reported_has_48_hours_from_its_first_episode() -> None:
    assert names(host(last_stored_at_ns=NOW, first_stored_at_ns=NOW - 48 * HOUR)) == []
    late = host(last_stored_at_ns=NOW, first_stored_at_ns=NOW - 48 * HOUR - 1)
    assert names(late) == ["doctor-stale"]
    assert names(late, health_dir="") == []


def test_commit_aging_is_the_oldest_tenth_of_a_full_window() -> None:
    def at(position: int, snapshot: GateSnapshot) -> list[str]:
        shipping = host(last_stored_at_ns=NOW, last_code_commit=f"{position:040x}")
        return names(shipping, dataclasses.replace(WELL, gate=snapshot), gate_enabled=True)

    assert at(17, gate()) == []
    assert at(18, gate()) == at(19, gate()) == ["commit-aging"]
    assert at(20, gate()) == []  # out of the window: refused, not aging
    assert at(19, gate(20, window=21)) == []  # a short branch pushes nobody out
    assert at(0, gate(1, window=1)) == []


def test_the_receivers_own() -> None:
    def own(**facts: Any) -> list[str]:
        return names(None, dataclasses.replace(WELL, **facts), disk_reserve_bytes=100, gate_enabled=True)

    assert own(gate=gate()) == []
    assert own(gate=gate(), free_bytes=200) == []
    assert own(gate=gate(), free_bytes=199) == ["disk-low"]
    assert own(gate=gate(), free_bytes=None) == ["disk-low"]
    assert own(gate=gate(age_ns=24 * HOUR)) == []
    assert own(gate=gate(age_ns=24 * HOUR + 1)) == ["gate-stale"]
    assert own(gate=None) == ["gate-stale"]
    assert own(gate=gate(), bad_lines=1) == ["index-damaged"]
    assert own(gate=gate(), quarantined=1) == ["index-damaged"]
    key = EpisodeKey("h", "e")
    assert own(gate=gate(), presence=Presence(looked=100)) == []
    for fault in ("missing", "other_length", "unseen"):
        assert own(gate=gate(), presence=Presence(looked=1, **{fault: (key,)})) == ["episodes-missing"]
    assert own(gate=gate(), presence=Presence(unindexed=(key,))) == ["episodes-unindexed"]
    assert own(gate=gate(age_ns=-5 * MINUTE)) == []
    assert own(gate=gate(age_ns=-5 * MINUTE - 1)) == ["clock-behind"]
    assert names(None, dataclasses.replace(WELL, gate=None), disk_reserve_bytes=0) == []


def test_an_empty_index_and_a_host_that_never_shipped_are_well() -> None:
    assert names() == []
    assert names(host()) == []


def test_what_inspection_found_is_told_within_the_look_back() -> None:
    for kind, name in (
        ("unopenable", "bad-archives"),
        ("changed", "bad-archives"),
        ("mislabelled", "mislabelled"),
    ):
        at_boundary = trouble(kind, NOW - 24 * HOUR)
        assert names(host(troubles=(at_boundary,))) == [name]
        assert names(host(troubles=(dataclasses.replace(at_boundary, last_ns=NOW - 24 * HOUR - 1),))) == []
        assert names(host(troubles=(at_boundary,), retired=Retirement("h", NOW, None, "sold"))) == []
    both = host(troubles=(trouble("unopenable"), trouble("changed")))
    [symptom] = diagnose(Facts(now_ns=NOW, hosts=(both,), receiver=WELL), Settings())
    assert symptom.name == "bad-archives" and symptom.evidence.count("e5 (detail), …") == 2

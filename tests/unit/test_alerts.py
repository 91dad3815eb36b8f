"""At most one alert for each host, symptom and hour, whatever runs, dies or is deleted."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from cis490_receiver.errors import ConfigError
from cis490_receiver.monitor import notify
from cis490_receiver.monitor.alerts import raise_new
from cis490_receiver.monitor.symptoms import Symptom
from cis490_receiver.state.alerts import AlertFile
from cis490_receiver.state.base.notes import Mute, Retirement
from cis490_receiver.state.mutes import MuteFile
from cis490_receiver.state.outbox import AlertOutbox
from cis490_receiver.state.retirements import RetirementFile

HOUR = 3600 * 10**9
NOW = 500_000 * HOUR  # the first instant of an hour


def symptom(host: str | None, name: str = "silent") -> Symptom:
    return Symptom(host, name, NOW - HOUR, "seen", "mend it")


FLEET = [symptom("a"), symptom("b"), symptom("a", "unstamped"), symptom(None, "disk-low")]


def said(folder: Path) -> list[tuple[str, str | None, str, str]]:
    lines = map(json.loads, (folder / "alerts.jsonl").read_text().splitlines())
    return [(line["state"], line["host_id"], line["symptom"], line["hour"]) for line in lines]


def run(folder: Path) -> int:
    return len(raise_new(AlertFile(folder), FLEET, NOW))


def test_runs_at_once_raise_each_symptom_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8) as pool:
        assert sum(pool.map(run, [tmp_path] * 24)) == len(FLEET)
    assert len(said(tmp_path)) == len(set(said(tmp_path))) == len(FLEET)


def test_a_symptom_that_stays_is_raised_again_in_the_next_hour_only(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    times = [NOW, NOW + HOUR - 1, NOW + HOUR, NOW + HOUR + 1, NOW + 3 * HOUR]
    assert [len(raise_new(log, [symptom("a")], now)) for now in times] == [1, 0, 1, 0, 1]
    # The clock was set back into an hour that has its alert.
    assert raise_new(log, [symptom("a")], NOW + HOUR + 5) == []


def test_gone_is_raised_once_a_day_until_it_ended(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    gone = [symptom("a", "gone"), symptom("b", "gone")]
    at = NOW + HOUR // 2
    assert len(raise_new(log, gone, at)) == 2
    for later in (1, HOUR, 23 * HOUR, 24 * HOUR - 1):
        assert raise_new(log, gone, at + later) == []
    # The clock was set back.
    assert raise_new(log, gone, at - 23 * HOUR) == []
    # It came back, and went again within the day.
    assert [alert.state for alert in raise_new(log, gone[1:], at + 5 * HOUR)] == ["recovered"]
    assert [alert.host_id for alert in raise_new(log, gone, at + 6 * HOUR)] == ["a"]
    assert raise_new(log, gone, at + 7 * HOUR) == []
    assert [alert.host_id for alert in raise_new(log, gone, at + 24 * HOUR)] == ["b"]
    assert [alert.host_id for alert in raise_new(log, gone, at + 30 * HOUR)] == ["a"]


def test_an_end_is_noted_once_and_a_relapse_in_the_same_hour_is_not_raised_twice(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    raise_new(log, [symptom("a"), symptom("b")], NOW)
    for _ in range(3):
        raise_new(log, [symptom("b")], NOW + 1)
    raise_new(log, [symptom("a"), symptom("b")], NOW + 2)
    raise_new(log, [], NOW + 3)
    states = [(state, host) for state, host, *_ in said(tmp_path)]
    assert states == [("raised", "a"), ("raised", "b"), ("recovered", "a"), ("recovered", "b")]


@pytest.mark.parametrize("cut", range(0, 700, 50))
def test_a_run_that_died_while_writing_is_completed_by_the_next(tmp_path: Path, cut: int) -> None:
    raise_new(AlertFile(tmp_path), FLEET, NOW)
    path = tmp_path / "alerts.jsonl"
    whole = said(tmp_path)
    os.truncate(path, min(cut, path.stat().st_size))
    (tmp_path / "monitor.json").unlink()
    raise_new(AlertFile(tmp_path), FLEET, NOW + 1)
    assert sorted(said(tmp_path), key=str) == sorted(whole, key=str)


def test_the_file_is_bounded_and_the_hour_is_not_forgotten_with_it(tmp_path: Path) -> None:
    log = AlertFile(tmp_path, generation_bytes=500)
    for hour in range(20):
        for _ in range(3):
            raise_new(log, FLEET, NOW + hour * HOUR)
    assert (tmp_path / "alerts.jsonl").stat().st_size < 3000
    both = said(tmp_path)
    assert len(both) == len(set(both))


def test_people_are_told_until_it_was_taken(tmp_path: Path) -> None:
    sent: list[str] = []
    answers = iter([False, False, True, True])

    def send(_title: str, body: str) -> bool:
        taken = next(answers)
        if taken:
            sent.extend(body.splitlines())
        return taken

    log = AlertFile(tmp_path)
    raise_new(log, [symptom("a")], NOW)
    assert not notify.to_people(AlertOutbox(tmp_path), send, NOW)
    raise_new(log, [symptom("a"), symptom("b")], NOW)
    assert not notify.to_people(AlertOutbox(tmp_path), send, NOW)
    assert notify.to_people(AlertOutbox(tmp_path), send, NOW)
    assert notify.to_people(AlertOutbox(tmp_path), send, NOW)
    raise_new(log, [symptom("a"), symptom("b"), symptom("c")], NOW)
    assert notify.to_people(AlertOutbox(tmp_path), send, NOW)
    assert [line.split(":")[0] for line in sent] == ["a", "b", "c"]


def test_people_are_spared_the_history_of_a_file_that_was_restored(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(_title: str, body: str) -> bool:
        sent.extend(body.splitlines())
        return True

    log = AlertFile(tmp_path)
    for hour in range(3):
        raise_new(log, [symptom("a")], NOW + hour * HOUR)
        assert notify.to_people(AlertOutbox(tmp_path), send, NOW + hour * HOUR)
    assert len(sent) == 3
    text = log.path.read_bytes()
    log.path.rename(tmp_path / "aside")
    log.path.write_bytes(text)
    raise_new(log, [symptom("a"), symptom("b")], NOW + 3 * HOUR)
    assert notify.to_people(AlertOutbox(tmp_path), send, NOW + 3 * HOUR)
    assert [line.split(":")[0] for line in sent[3:]] == ["a", "b"]


def test_mutes_end_by_themselves(tmp_path: Path) -> None:
    mutes = MuteFile(tmp_path)
    mutes.set(Mute("a", NOW + HOUR, "away"), NOW)
    mutes.set(Mute("b", NOW + 9 * HOUR, "away"), NOW)
    assert set(mutes.active(NOW)) == {"a", "b"}
    assert set(mutes.active(NOW + HOUR)) == {"b"}
    assert mutes.end("b", NOW) and not mutes.end("b", NOW)


def test_retirements_are_kept_one_by_one(tmp_path: Path) -> None:
    retired = RetirementFile(tmp_path)
    retired.set(Retirement("a", NOW, None, "sold"))
    retired.set(Retirement("b", NOW, NOW - HOUR, "burnt"))
    retired.set(Retirement("a", NOW + 1, NOW, "sold"))
    assert RetirementFile(tmp_path).all() == {
        "a": Retirement("a", NOW + 1, NOW, "sold"),
        "b": Retirement("b", NOW, NOW - HOUR, "burnt"),
    }
    retired.end("b")
    retired.end("c")
    assert set(retired.all()) == {"a"}


@pytest.mark.parametrize("text", ['{"host_id": "a"}', "[1]", "[" * 100_000, '[{"host_id": "../a"}]', "\xff"])
def test_a_damaged_file_retires_and_mutes_nobody_and_is_not_written_over(tmp_path: Path, text: str) -> None:
    for name in ("retired.json", "mutes.json"):
        (tmp_path / name).write_text(text, encoding="latin-1")
    retired, mutes = RetirementFile(tmp_path), MuteFile(tmp_path)
    assert retired.all() == mutes.active(NOW) == {}
    with pytest.raises(ConfigError, match=r"retired\.json cannot be read"):
        retired.set(Retirement("b", NOW, None, "x"))
    with pytest.raises(ConfigError, match=r"mutes\.json cannot be read"):
        mutes.set(Mute("b", NOW + 1, "x"), NOW)
    assert (tmp_path / "retired.json").read_text(encoding="latin-1") == text


def test_a_clock_that_goes_back_and_forth_raises_nothing_twice(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    full_hour = NOW - NOW % HOUR + HOUR
    times = [full_hour + 1, full_hour - 10, full_hour + 60]
    assert [len(raise_new(log, [symptom("a")], now)) for now in times] == [1, 1, 0]


def test_a_muted_symptom_is_not_raised_and_has_not_ended(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    raise_new(log, [symptom("a")], NOW)
    assert raise_new(log, [symptom("a")], NOW + HOUR, muted={"a"}) == []
    assert [alert.state for alert in raise_new(log, [symptom("a")], NOW + 2 * HOUR)] == ["raised"]


def test_an_end_that_nobody_could_see_is_noted_when_it_can_be(tmp_path: Path) -> None:
    log = AlertFile(tmp_path)
    raise_new(log, [symptom("a")], NOW)
    for hour in (25, 26):
        assert raise_new(log, [], NOW + hour * HOUR, may_end=lambda key: key != ("a", "silent")) == []
    assert [alert.state for alert in raise_new(log, [], NOW + 27 * HOUR)] == ["recovered"]


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"at_ns": 1, "hour": 5, "state": "raised", "host_id": "a", "symptom": "silent"}',
        b'{"at_ns": 1, "hour": "x", "state": "raised", "host_id": ["a"], "symptom": "silent"}',
        b'{"at_ns": "x", "hour": "x", "state": "raised", "host_id": "a", "symptom": "silent"}',
    ],
)
def test_lines_that_are_no_alerts_are_passed_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "alerts.jsonl").write_bytes(line + b"\n")
    (tmp_path / "monitor.json").write_bytes(line)
    assert len(raise_new(AlertFile(tmp_path), [symptom("a")], NOW)) == 1

"""The allow-list as a worker has it."""

from __future__ import annotations

import builtins
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis490_receiver.errors import CommitRejected, GateUnavailable, MalformedCommit, MissingCommit
from cis490_receiver.files.watched import RECHECK_SECONDS
from cis490_receiver.policy.admission import admitted_commit
from cis490_receiver.policy.gate import VersionGate
from cis490_receiver.protocol import HEADER_CODE_COMMIT
from cis490_receiver.state.base.gate_list import GateSnapshot
from cis490_receiver.state.gate_list import GATE_FILE, GateFile
from tests.gate.snapshots import commit_id, make_snapshot, write

EXTRA = "e" * 40
HEX = "0123456789abcdef"


class Monotonic:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """A gate on a folder, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Monotonic()
        self.gate = VersionGate(GateFile(folder / GATE_FILE, monotonic=self.clock), [EXTRA])

    def later(self) -> None:
        self.clock.now += RECHECK_SECONDS

    def accepts(self, number: int) -> bool:
        try:
            return self.gate.check(commit_id(number)) == commit_id(number)
        except CommitRejected:
            return False


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


@pytest.fixture(scope="module")
def fixed_gate(tmp_path_factory: pytest.TempPathFactory) -> VersionGate:
    folder = tmp_path_factory.mktemp("gate")
    write(folder, make_snapshot(3, 2, 1, older=(0,)))
    return VersionGate(GateFile(folder / GATE_FILE), [EXTRA])


in_the_set = st.sampled_from([commit_id(1), commit_id(2), commit_id(3), EXTRA])
almost = st.text(HEX + "ABCDEFgxX \t\0", min_size=38, max_size=42)
header_text = st.text(st.characters(max_codepoint=255), max_size=300)
padding = st.text(" \t", max_size=3)


@given(
    header_text
    | almost
    | st.text(HEX, min_size=40, max_size=40)
    | st.builds(
        lambda a, c, b, up: a + (c.upper() if up else c) + b, padding, in_the_set, padding, st.booleans()
    )
)
def test_any_header_is_in_the_set_or_refused_by_name(fixed_gate: VersionGate, header: str) -> None:
    # An independent reading of the rule.
    said = header.strip().lower()
    accepted = {commit_id(1), commit_id(2), commit_id(3), EXTRA}
    try:
        assert admitted_commit({HEADER_CODE_COMMIT: header}, fixed_gate) == said
        assert said in accepted
    except MissingCommit:
        assert said == ""
    except MalformedCommit:
        assert said and not re.fullmatch("[0-9a-f]{40}", said, re.ASCII)
    except CommitRejected as exc:
        assert re.fullmatch("[0-9a-f]{40}", said) and said not in accepted
        assert exc.details["your_commit"] == said
        assert exc.details["reason"] == ("behind" if said == commit_id(0) else "not-on-branch")


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["commits", "head", "older", "ref", "repo", "window"]) | st.text(), inner
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_what_is_not_a_snapshot_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        GateSnapshot.from_json(data)


@given(
    st.sampled_from(["window", "refreshed_at_ns", "head", "commits", "older"]),
    st.sampled_from([None, [], {}, float("inf"), float("nan"), "x", [1], [None], [{}], "9" * 5000]),
)
def test_a_snapshot_with_one_wrong_member_is_a_value_error_or_reads_back(key: str, value: Any) -> None:
    data = json.loads(make_snapshot(1).to_json()) | {key: value}
    try:
        snapshot = GateSnapshot.from_json(json.dumps(data).encode())
    except ValueError:
        return
    assert GateSnapshot.from_json(snapshot.to_json()) == snapshot and snapshot.commits


def test_a_snapshot_reads_back_as_it_was_written() -> None:
    snapshot = make_snapshot(5, 4, older=(3, 2))
    assert GateSnapshot.from_json(snapshot.to_json()) == snapshot


def test_a_check_between_two_looks_needs_no_file(worker: Worker) -> None:
    write(worker.folder, make_snapshot(*range(1000), older=tuple(range(1000, 2000))))
    assert worker.accepts(1)
    (worker.folder / GATE_FILE).unlink()
    assert all(worker.accepts(number) for number in range(1000))
    assert not any(worker.accepts(number) for number in range(1000, 2100))
    worker.later()
    with pytest.raises(GateUnavailable):
        worker.accepts(1)


def test_a_look_at_a_file_that_did_not_change_does_not_read_it(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(worker.folder, make_snapshot(1))
    assert worker.accepts(1)
    looks = []
    real_open = builtins.open

    def counting_open(file: Any, *arguments: Any, **options: Any) -> Any:
        looks.append(file)
        return real_open(file, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", counting_open)
        patch.setattr(GateSnapshot, "from_json", lambda _: pytest.fail("parsed again"))
        for _ in range(10):
            worker.later()
            for _ in range(10):
                assert worker.accepts(1)
    assert looks.count(worker.folder / GATE_FILE) == 10


def test_a_new_snapshot_is_taken_up_at_the_next_look(worker: Worker) -> None:
    write(worker.folder, make_snapshot(1))
    assert worker.accepts(1)
    write(worker.folder, make_snapshot(2))
    assert worker.accepts(1) and not worker.accepts(2)
    worker.later()
    assert worker.accepts(2) and not worker.accepts(1)
    assert RECHECK_SECONDS <= 0.5


def test_a_damaged_snapshot_keeps_the_last_good_one_and_is_logged_once(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    write(worker.folder, make_snapshot(1))
    assert worker.accepts(1)
    path = worker.folder / GATE_FILE
    good = path.read_bytes()
    for damaged in (
        good[: len(good) // 2],
        b"",
        b"\0" * len(good),
        b"[]",
        good.replace(b'"head"', b'"tail"'),
    ):
        path.write_bytes(damaged)
        caplog.clear()
        for _ in range(5):
            worker.later()
            assert worker.accepts(1) and not worker.accepts(2)
        [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert line.startswith("gate-damaged file=gate.json") and "kept_last_good=True" in line
    write(worker.folder, make_snapshot(2))
    worker.later()
    assert worker.accepts(2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The events that were logged as warnings, whatever level another test of this process has set."""
    return [record.getMessage().split()[0] for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_snapshot_that_is_missing_closes_the_gate_until_there_is_one(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with pytest.raises(GateUnavailable):
            worker.accepts(1)
        worker.later()
    write(worker.folder, make_snapshot(1))
    assert worker.accepts(1)
    (worker.folder / GATE_FILE).unlink()
    worker.later()
    with pytest.raises(GateUnavailable):
        worker.accepts(1)
    assert warnings(caplog) == ["gate-missing", "gate-missing"]


def test_a_snapshot_that_was_moved_away_and_back_is_in_force_again(worker: Worker) -> None:
    write(worker.folder, make_snapshot(1))
    assert worker.accepts(1)
    path = worker.folder / GATE_FILE
    aside = path.rename(worker.folder / "aside")
    worker.later()
    with pytest.raises(GateUnavailable):
        worker.accepts(1)
    aside.rename(path)
    worker.later()
    assert worker.accepts(1)


def test_a_snapshot_that_could_not_be_opened_is_tried_again_though_it_is_the_same_file(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(worker.folder, make_snapshot(1))

    real_open = builtins.open

    def refuse(file: Any, *arguments: Any, **options: Any) -> Any:
        if file == worker.folder / GATE_FILE:
            raise PermissionError(13, "Permission denied")
        return real_open(file, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        for _ in range(3):
            with pytest.raises(GateUnavailable):
                worker.accepts(1)
            worker.later()
    assert worker.accepts(1)
    assert warnings(caplog) == ["gate-damaged"]


def test_a_good_snapshot_that_replaces_a_bad_one_while_that_is_read_is_not_missed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (worker.folder / GATE_FILE).write_bytes(b"{")
    real = GateSnapshot.from_json

    def replaced_meanwhile(text: bytes) -> GateSnapshot:
        write(worker.folder, make_snapshot(1))
        return real(text)

    with monkeypatch.context() as patch:
        patch.setattr(GateSnapshot, "from_json", replaced_meanwhile)
        with pytest.raises(GateUnavailable):
            worker.accepts(1)
    worker.later()
    assert worker.accepts(1)

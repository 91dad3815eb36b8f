"""No crash, at any instant, breaks the promise: every state that one may leave is built, started and used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.support.course import Scenario
from tests.faults.support.hunt import hunt, record
from tests.faults.support.model import crash_states
from tests.faults.support.scenarios import SCENARIOS, scenario


@pytest.mark.slow
@pytest.mark.parametrize("what", SCENARIOS, ids=lambda what: what.name)
def test_no_crash_breaks_the_promise(what: Scenario, tool: Callable[[str], str]) -> None:
    count = hunt(what, tool("strace"), every_byte=what.every_byte)
    print(f"{what.name}: {count} crash states")
    assert count > 0


def test_the_enumeration_knows_what_a_crash_does(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """The hunter is worth nothing if it does not see the states that matter."""
    recording = record(scenario("new-host"), tmp_path, tool("strace"))
    stories = {state.story: state for state in crash_states(recording)}
    states = stories.values()
    final = "data/episodes/host-a/ep-1.tar.zst"
    assert any("data/episodes/host-a" not in state.folders for state in states)
    assert any("data/episodes/host-a" in state.folders and final not in state.files for state in states)
    whole = next(state.files[final][1] for state in states if state.promises)
    incoming = [
        content
        for state in states
        for path, (_, content) in state.files.items()
        if path.startswith("data/incoming/")
    ]
    assert b"" in incoming
    assert whole[:4096] in incoming
    assert any(content.startswith(bytes(4096)) for content in incoming)
    assert all(state.files[final][1] == whole for state in states if final in state.files)
    journals = {state.files["data/index.jsonl"][1] for state in states}
    longest = max((state.seen_journal for state in states), key=len)
    line = longest.splitlines(keepends=True)[-1]
    start = len(longest) - len(line)
    assert {longest[:end] for end in range(start, len(longest) + 1)} <= journals
    assert {len(state.promises) for state in states} == {0, 1}

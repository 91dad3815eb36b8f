"""Progress is true, is told in time, and costs nothing where work is quick."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cis490_receiver import progress
from tests.support.terminals import shown

MEASURED = """
import os, sys, time
from cis490_receiver import progress
with progress.on_standard_error() as told:
    told.begin("copying", 5_000_000)
    for _ in range(int(sys.argv[1])):
        told.advance(100_000)
        time.sleep(0.05)
print("done, rich" if "rich" in sys.modules else "done")
"""


class Clock:
    """Moved by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_lines_come_every_ten_seconds_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = progress._Lines(clock)
    lines.begin("reading", 4_000_000_000)
    for _ in range(30):
        clock.seconds += 1
        lines.advance(100_000_000)
    lines.skip(400_000_000)
    clock.seconds += 10
    lines.advance(200_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 1.0 GB of 4.0 GB, 100 MB/s, 0:30 left",
        "reading: 2.0 GB of 4.0 GB, 100 MB/s, 0:20 left",
        "reading: 3.0 GB of 4.0 GB, 100 MB/s, 0:10 left",
        "reading: 3.2 GB of 3.6 GB, 80.0 MB/s, 0:05 left",
    ]


def test_where_no_total_is_known_none_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = progress._Lines(clock)
    lines.begin("looking", unit="episodes")
    lines.advance(5000)
    clock.seconds = 10
    lines.advance(5000)
    assert capsys.readouterr().err == "looking: 10,000 episodes, 1,000 episodes/s\n"


def test_threads_lose_no_count() -> None:
    lines = progress._Lines(lambda: 0.0)
    lines.begin("x")
    threads = [threading.Thread(target=lambda: [lines.advance() for _ in range(10_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.done == 40_000


def run(steps: int, **environment: str) -> list[str]:
    return shown(
        [sys.executable, "-c", MEASURED, str(steps)],
        columns=100,
        env={"TERM": "xterm", **environment},
        cwd=Path.cwd(),
    )


def test_a_terminal_sees_a_bar_with_rate_and_time_left() -> None:
    text = "\n".join(run(30))
    assert "copying" in text and "of 5.0 MB" in text and "MB/s" in text and "left" in text
    assert "done, rich" in text


def test_quick_work_shows_nothing_and_imports_nothing() -> None:
    assert run(3) == ["done"]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines() -> None:
    assert run(15, TERM="dumb") == ["done"]


def test_outside_of_a_terminal_rich_is_not_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "15"], capture_output=True, text=True, cwd=Path.cwd()
    )
    assert (done.stdout, done.stderr) == ("done\n", "")

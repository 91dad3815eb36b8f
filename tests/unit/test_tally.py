"""Numbers over processes that come, go and are killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from cis490_receiver.tally import Tally

LIVING: set[int] = set()


@pytest.fixture(autouse=True)
def end_children() -> Iterator[None]:
    """No child outlives its test, whatever that came to."""
    yield
    for pid in list(LIVING):
        kill(pid)


def in_child(work: Callable[[], None], *, end: bool = True) -> int:
    """Do `work` in a forked process, which then ends at once or lives until it is killed; gives its id, once the work
    is done."""
    done_read, done_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        work()
        os.write(done_write, b"x")
        if not end:
            signal.pause()
        os._exit(0)
    os.read(done_read, 1)
    os.close(done_read)
    os.close(done_write)
    if end:
        os.waitpid(pid, 0)
    else:
        LIVING.add(pid)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    LIVING.discard(pid)


def test_all_processes_sum_up_to_the_same() -> None:
    tally = Tally(["a", "b"], ["now"], processes=4)
    tally.add("a", 2)
    living = in_child(lambda: (tally.add("a"), tally.add("now"))[0], end=False)
    try:
        assert tally.sums() == {"a": 3, "b": 0, "now": 1}
    finally:
        kill(living)


def test_a_killed_process_leaves_its_counts_and_takes_what_it_was_at_away() -> None:
    tally = Tally(["a"], ["now"], processes=2)
    for turn in range(1, 20):
        pid = in_child(lambda: (tally.add("a"), tally.add("now"))[0], end=False)
        assert tally.sums() == {"a": turn, "now": 1}
        kill(pid)
        # With two rows for twenty processes: the number of rows does not grow.
        assert tally.sums() == {"a": turn, "now": 0}


def test_a_process_too_many_is_not_stopped_and_spoils_nothing() -> None:
    tally = Tally(["a"], ["now"], processes=1)
    tally.add("a")
    in_child(lambda: tally.add("a", 100))
    assert tally.sums()["a"] == 1


def test_summing_up_takes_no_living_process_row_away() -> None:
    tally = Tally(["a"], ["now"], processes=2)
    first = in_child(lambda: tally.add("now"), end=False)
    try:
        tally.sums()
        second = in_child(lambda: tally.add("now"), end=False)
        try:
            assert tally.sums()["now"] == 2
            tally.add("a")
            assert tally.sums() == {"a": 0, "now": 2}, "a third process has no row here"
        finally:
            kill(second)
    finally:
        kill(first)


def test_threads_lose_no_count() -> None:
    tally = Tally(["a"], ["now"], processes=2)

    def add() -> None:
        for _ in range(10_000):
            tally.add("a")
            tally.add("now")
            tally.add("now", -1)
            if _ % 1000 == 0:
                tally.sums()

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.sums() == {"a": 80_000, "now": 0}


def test_summing_up_keeps_this_process_row_its_own() -> None:
    tally = Tally(["a"], ["now"], processes=2)
    tally.add("now")
    assert tally.sums()["now"] == 1
    in_child(lambda: tally.add("now"), end=False)
    assert tally.sums()["now"] == 2

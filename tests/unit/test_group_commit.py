"""Lines that come at once share a write; each waits for its own, and learns of its failure."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from cis490_receiver.index.group_commit import GroupCommit


def test_those_that_come_while_one_is_written_are_written_together() -> None:
    written: list[bytes] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def write(lines: Sequence[bytes]) -> Sequence[bytes]:
        first_is_in.set()
        assert go_on.wait(10)
        written.append(b"".join(lines))
        return lines

    group = GroupCommit(write)
    with ThreadPoolExecutor(9) as pool:
        done = [pool.submit(group.submit, b"0")]
        assert first_is_in.wait(10)
        done += [pool.submit(group.submit, b"%d" % number) for number in range(1, 9)]
        while len(group._waiting) < 8:
            pass
        assert not any(one.done() for one in done)
        go_on.set()
        assert [one.result(10) for one in done] == [b"%d" % number for number in range(9)]
    assert written[0] == b"0"
    assert [sorted(lines) for lines in written[1:]] == [sorted(b"12345678")]


def test_a_failure_reaches_each_of_its_batch_and_nobody_else() -> None:
    def write(lines: Sequence[bytes]) -> Sequence[bytes]:
        if b"bad" in lines:
            raise OSError("disk")
        return lines

    group = GroupCommit(write)
    group.submit(b"good")
    with pytest.raises(OSError, match="disk"):
        group.submit(b"bad")
    group.submit(b"good again")


def test_nobody_takes_a_line_for_written_whose_writer_was_ended() -> None:
    first_is_in, go_on = threading.Event(), threading.Event()

    def write(lines: Sequence[bytes]) -> Sequence[bytes]:
        if lines == [b"1"]:
            first_is_in.set()
            assert go_on.wait(10)
            return lines
        raise SystemExit

    group = GroupCommit(write)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(group.submit, b"1")]
        assert first_is_in.wait(10)
        done += [pool.submit(group.submit, b"2") for _ in range(3)]
        while len(group._waiting) < 3:
            pass
        go_on.set()
        assert [type(one.exception(10)) for one in done[:1]] == [type(None)]
        assert {type(one.exception(10)) for one in done[1:]} == {OSError, SystemExit}


def test_every_line_is_written_once_before_its_thread_goes_on() -> None:
    written: list[bytes] = []

    def write(lines: Sequence[bytes]) -> Sequence[bytes]:
        written.extend(line.strip() for line in lines)
        return lines

    group = GroupCommit(write)

    def work(thread: int) -> None:
        for number in range(200):
            line = b"%d-%d\n" % (thread, number)
            group.submit(line)
            assert line.strip() in written

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert len(written) == len(set(written)) == 3200

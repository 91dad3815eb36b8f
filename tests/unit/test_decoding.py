"""A body is decoded beside its arrival: judged rightly whatever the pieces, and nothing goes on when it is over."""

from __future__ import annotations

import tarfile
import threading
import time
from collections.abc import Iterator
from unittest import mock

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cis490_receiver import archive
from cis490_receiver.errors import BadArchive
from cis490_receiver.policy import decoding
from cis490_receiver.policy.decoding import WAITING, Decoding
from tests.support.archives import make_episode, pack

GOOD = make_episode(1, size=100_000).data
LIMITS = archive.for_whole(len(GOOD), decompressed_bytes=50_000_000)
BOMB = zstandard.ZstdCompressor().compress(bytes(80_000_000))


def decoders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "episode-decoder"]


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    yield
    assert decoders() == []


def judge(data: bytes, cuts: list[int], limits: archive.Limits = LIMITS) -> str | None:
    """What is said of `data` in pieces that end at `cuts`."""
    with Decoding(limits) as look:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if start < end:
                look.look_at(memoryview(bytearray(data[start:end])))
        try:
            look.conclude()
        except BadArchive as exc:
            return str(exc.details["reason"])
    return None


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, len(GOOD)), max_size=12).map(sorted))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    assert judge(GOOD, cuts) is None
    assert judge(GOOD[:-5], [cut for cut in cuts if cut < len(GOOD) - 5])
    assert judge(GOOD + b"x", cuts)


@pytest.mark.parametrize("cuts", [[], [1], [7, 9, 2000]])
def test_what_is_wrong_is_named(cuts: list[int]) -> None:
    assert (
        judge(pack({"data": bytes(5000)}) + b"x" * 3000, cuts) == "there is something behind the last frame"
    )
    assert judge(BOMB, cuts) == "more than 50000000 bytes when decompressed"
    without = zstandard.ZstdCompressor().compress(bytes(range(256)) * 4000) + GOOD
    assert str(judge(without, cuts)).startswith("not a tar archive")


def test_a_buffer_may_be_used_again_at_once() -> None:
    buffer = bytearray(1000)
    with Decoding(LIMITS) as look:
        for start in range(0, len(GOOD), 1000):
            piece = GOOD[start : start + 1000]
            buffer[: len(piece)] = piece
            look.look_at(memoryview(buffer)[: len(piece)])
            buffer[:] = bytes(1000)
        look.conclude()


def test_who_is_faster_than_the_decoder_waits_for_it() -> None:
    may_go, given_away = threading.Event(), threading.Semaphore(0)
    real = archive.read_whole

    def slow(*arguments: object) -> archive.Whole:
        may_go.wait()
        return real(*arguments)  # type: ignore[arg-type]

    def give() -> None:
        for start in range(0, len(GOOD), 1000):
            look.look_at(memoryview(GOOD)[start : start + 1000])
            given_away.release()

    with mock.patch.object(archive, "read_whole", slow), Decoding(LIMITS) as look:
        giver = threading.Thread(target=give)
        giver.start()
        try:
            # The first piece waits for a second one.
            for _ in range(WAITING):
                assert given_away.acquire(timeout=20)
            assert not given_away.acquire(timeout=0.2)
        finally:
            may_go.set()
        giver.join()
        look.conclude()


def test_an_upload_that_ends_early_ends_the_decoder_in_the_middle() -> None:
    """Of a piece that goes on for gigabytes, and of one that never comes."""
    member = tarfile.TarInfo("zeros")
    member.size = 1 << 40
    zeros = zstandard.ZstdCompressor().compress(bytes(32 << 20))
    endless = zstandard.ZstdCompressor().compress(member.tobuf()) + zeros * 4000
    no_limits = archive.Limits(1 << 60, 1 << 60, 1e9)
    started = time.monotonic()
    for data in (endless, GOOD[:-1000]):
        with Decoding(no_limits) as look:
            look.look_at(memoryview(data)[:50])
            look.look_at(memoryview(data)[50:])
            if data is endless:
                # There is room for the last of these only when the decoder has taken that.
                for _ in range(WAITING):
                    look.look_at(memoryview(zeros))
    assert time.monotonic() - started < 10


def test_a_thread_that_dies_holds_nobody_up_and_is_told() -> None:
    with (
        mock.patch.object(decoding.archive, "read_whole", side_effect=MemoryError("none left")),
        Decoding(LIMITS) as look,
    ):
        for _ in range(50):
            look.look_at(memoryview(GOOD))
        with pytest.raises(MemoryError, match="none left"):
            look.conclude()

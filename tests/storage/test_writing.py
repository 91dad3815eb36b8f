"""The writer with its thread: every byte, in order, whatever the sizes; and no failure lost."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cis490_receiver.storage import writing
from cis490_receiver.storage.writing import Buffers, HashingWriter

#: Around the boundaries of a buffer and of a block.
SIZES = st.sampled_from([0, 1, 511, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20])


def pour(writer: HashingWriter, sizes: list[int], seed: int) -> bytes:
    data = random.Random(seed).randbytes(1 << 20)
    poured = b""
    for number, size in enumerate(sizes):
        piece = data[number : number + size].ljust(size, b"x")
        poured += piece
        while True:
            buffer = writer.lend()
            count = min(len(buffer), len(piece))
            buffer[:count] = piece[:count]
            writer.commit(count)
            piece = piece[count:]
            if not piece:
                break
    return poured


@pytest.mark.parametrize("where", ["disk", "memory"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=SIZES,
    full=st.integers(0, 9),
    rest=st.lists(SIZES, max_size=4),
    more=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_what_is_poured_in_is_in_the_file(
    tmp_path: Path, where: str, before: int, full: int, rest: list[int], more: int, seed: int
) -> None:
    # Whole buffers again after odd pieces, and behind what was there, must be aligned anew, or O_DIRECT refuses them.
    path = (tmp_path if where == "disk" else Path("/dev/shm")) / f"poured-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, bytes(before))
        writer = HashingWriter(fd, Buffers(), before)
        poured = pour(writer, [1 << 20] * full + rest + [1 << 20] * more, seed)
        written: list[int] = []
        writer.after_writing(lambda: written.append(os.fstat(fd).st_size))
        writer.flush()
        assert path.read_bytes() == bytes(before) + poured
        assert written == [before + len(poured)]
        assert writer.hexdigest() == hashlib.sha256(poured).hexdigest()
        assert writer.size_bytes == before + len(poured)
    finally:
        writer.close()
        os.close(fd)
        path.unlink()


@pytest.mark.parametrize("limit", [0, 100, 1 << 20, (3 << 20) + 5, 7 << 20])
def test_a_failed_write_is_raised_by_a_later_call_and_nobody_waits(tmp_path: Path, limit: int) -> None:
    def full_disk(writer: HashingWriter) -> None:
        pour(writer, [1 << 20] * 12, 1)
        writer.flush()

    assert _errno_under_limit(tmp_path / "file", limit, full_disk) == errno.EFBIG


def _errno_under_limit(path: Path, limit: int, action: Callable[[HashingWriter], None]) -> int:
    """The errno of `action` in a child that may not write further than `limit` bytes."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            action(HashingWriter(fd, Buffers()))
        except OSError as exc:
            code = exc.errno or 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_file_system_that_refuses_direct_writes_gets_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_set_direct", lambda fd, direct: False)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    writer = HashingWriter(fd, Buffers())
    poured = pour(writer, [1 << 20] * 5 + [77], 2)
    writer.flush()
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == poured


def test_an_upload_that_is_given_up_leaves_no_thread(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    writer = HashingWriter(fd, Buffers())
    pour(writer, [1 << 20] * 6, 3)
    writer.close()
    os.close(fd)
    assert "episode-writer" not in {thread.name for thread in threading.enumerate()}


def test_a_direct_write_that_ends_between_two_blocks_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system with blocks of 4096 bytes that took one and a half of them."""
    write = os.write
    calls = []

    def partial(fd: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            return write(fd, data[:6144])
        if len(calls) == 3:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(fd, data)

    monkeypatch.setattr(writing, "_set_direct", lambda fd, direct: True)
    monkeypatch.setattr(os, "write", partial)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    writer = HashingWriter(fd, Buffers())
    # What `_set_direct` says now is that it was turned off.
    poured = pour(writer, [1 << 20] * 2, 4)
    writer.flush()
    os.close(fd)
    assert calls[2:4] == [calls[1] - 6144] * 2
    assert (tmp_path / "file").read_bytes() == poured


def test_what_could_not_be_written_is_not_counted_and_told_again() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        small = HashingWriter(full.fileno(), Buffers())
        small.lend()
        with pytest.raises(OSError):
            small.commit(10)
        assert small.size_bytes == 0
        large = HashingWriter(full.fileno(), Buffers())
        large.lend()
        large.commit(writing.BUFFER_BYTES)
        for _ in range(2):
            with pytest.raises(OSError):
                large.flush()
        for writer in (small, large):
            writer.close()

"""`validate`: what a trainer could not open is refused, and nothing of it stays."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support.archives import Archive, make_episode, pack
from tests.support.receiver import AUTH, Receiver, put_headers

GOOD = make_episode(1, size=500_000)
NOT_ZSTD = Archive(b"PK\3\4" + b"x" * 500_000)
CUT = Archive(GOOD.data[:-1000])
NO_META = Archive(pack({"data": b"x"}))
BOMB = Archive(zstandard.ZstdCompressor().compress(bytes(80_000_000)))


@pytest.mark.parametrize(
    ("mode", "refused"),
    [
        ("off", []),
        ("magic", [NOT_ZSTD, Archive(b""), Archive(b"abc")]),
        ("full", [NOT_ZSTD, Archive(b""), Archive(b"abc"), CUT, NO_META, BOMB]),
    ],
)
def test_each_mode_refuses_what_it_promises_to(
    start_receiver: Any, mode: str, refused: list[Archive]
) -> None:
    receiver: Receiver = start_receiver(validate=mode, max_decompressed_bytes=50_000_000)
    assert receiver.put("h", "good", GOOD).status == 201
    for number, episode in enumerate([NOT_ZSTD, Archive(b""), Archive(b"abc"), CUT, NO_META, BOMB]):
        answer = receiver.put("h", f"e{number}", episode)
        if episode in refused:
            assert (answer.status, answer.json["code"]) == (422, "bad-archive")
            assert answer.json["reason"]
        else:
            assert answer.status == 201
    assert len(receiver.stored()) == len(receiver.index()) == 7 - len(refused)
    assert receiver.incoming() == []


def checked(seed: int, size: int) -> bytes:
    """An episode with a checksum, as the zstd program writes it."""
    packed = zstandard.ZstdDecompressor().decompress(make_episode(seed, size=size).data)
    return zstandard.ZstdCompressor(write_checksum=True).compress(packed)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def threads(receiver: Receiver) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in receiver.worker_pids())


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_large_bodies_are_decoded_while_they_come_and_nothing_is_left(start_receiver: Any) -> None:
    receiver: Receiver = start_receiver(validate="full", workers=1, threads=1)
    good = checked(1, 9_000_000)
    assert receiver.put("h", "warm", Archive(checked(2, 3_000_000))).status == 201
    before = threads(receiver)
    middle = len(good) // 2
    for number, data in enumerate([flipped(good, middle), good[:-1000], good + bytes(8)]):
        answer = receiver.put("h", f"bad{number}", Archive(data))
        assert (answer.status, answer.json["code"]) == (422, "bad-archive"), answer.body
    # What was damaged on its way is told as that.
    for data in (flipped(good, middle), good[:-1000]):
        answer = receiver.put("h", "damaged", Archive(data), X_Content_SHA256=Archive(good).sha256)
        assert (answer.status, answer.json["status"]) == (400, "sha-mismatch")
    chunks = [good[start : start + 70_000] for start in range(0, len(good), 70_000)]
    for name, body, status in (("chunked", chunks, 201), ("cut", chunks[:-1], 422)):
        headers = put_headers(Archive(b"".join(body)))
        sent = receiver.request(
            "PUT", f"/v1/episodes/h/{name}.tar.zst", iter(body), headers, encode_chunked=True
        )
        assert sent.status == status, sent.body
    # Clients that vanish: after a piece or two, and where the decoder has much to do.
    zeros = zstandard.ZstdCompressor().compress(bytes(32 << 20)) * 1000
    for data in (good, GOOD.data + random.Random(1).randbytes(3_000_000), zeros):
        with contextlib.closing(receiver.raw()) as client:
            head = (
                f"PUT /v1/episodes/h/gone.tar.zst HTTP/1.1\r\nHost: r\r\nContent-Length: {len(data) + 5}\r\n"
            )
            names = put_headers(Archive(data))
            client.sendall((head + "".join(f"{k}: {v}\r\n" for k, v in names.items()) + "\r\n").encode())
            client.sendall(data[: 3 << 20])
    wait_until(lambda: receiver.incoming() == [] and threads(receiver) <= before)
    assert receiver.put("h", "good", Archive(good)).status == 201
    assert {name for _, name in receiver.stored()} == {"warm.tar.zst", "chunked.tar.zst", "good.tar.zst"}
    assert receiver.request("GET", "/v1/episodes/h/good.tar.zst", headers=AUTH).body == good

"""`validate`: what a trainer could not open is refused, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import zstandard

from tests.support.archives import Archive, make_episode, pack
from tests.support.receiver import Receiver

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

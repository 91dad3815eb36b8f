"""The index comes compressed to whoever asks for the whole, and is the same (RFC 9110 §8.4, §8.8.3.3, §12.5.3)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Final

import pytest
import zstandard

from cis490_receiver.http_client.decoding import Decoded
from cis490_receiver.http_client.failures import ReceiverFailed
from cis490_receiver.trainer.remote import WORDING, Remote
from tests.http_client.test_reader import answer, scripted, whole
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, TOKEN, Answer, Receiver

INDEX: Final = "/v1/index.jsonl"
DECODE: Final[Mapping[str | None, Callable[[bytes], bytes]]] = {
    None: lambda body: body,
    "gzip": gzip.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body),
}


@pytest.fixture(scope="module")
def filled(shared_receiver: Receiver) -> Receiver:
    """With more lines than are compressed at a time."""
    for number in range(3):
        assert shared_receiver.put("h", f"e{number}", make_episode(number)).status == 201
    path = shared_receiver.data_dir / "index.jsonl"
    line = path.read_bytes().splitlines(keepends=True)[0]
    with path.open("ab") as journal:
        journal.writelines(line.replace(b'"e0"', b'"more-%d"' % number) for number in range(3000))
        journal.write(b'{"torn')
    return shared_receiver


def get(receiver: Receiver, method: str = "GET", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return receiver.request(method, INDEX, headers=AUTH | given)


def lines(receiver: Receiver) -> bytes:
    return (receiver.data_dir / "index.jsonl").read_bytes().removesuffix(b'{"torn')


@pytest.mark.parametrize(
    ("wanted", "coding"),
    [
        ("gzip", "gzip"), ("X-GZip", "gzip"), ("zstd", "zstd"), ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"), ("zstd;q=0, *;q=0.1", "gzip"), ("*", "zstd"),
        ("gzip, identity;q=0.5", "gzip"), ("zstd;q=0, gzip;q=0, *", None),
        ("identity", None), ("", None), ("br", None), ("gzip;q=0", None), ("identity, gzip;q=0.9", None),
        ("gzip;q=0, zstd;q=0.000, identity;q=0", None), ("*;q=0", None),
    ],
)  # fmt: skip
def test_the_coding_is_the_one_that_the_client_likes_best(
    filled: Receiver, wanted: str, coding: str | None
) -> None:
    reply = get(filled, Accept_Encoding=wanted)
    assert (reply.status, reply.headers["Content-Encoding"], reply.headers["Vary"]) == (
        200,
        coding,
        "Accept-Encoding",
    )
    assert DECODE[coding](reply.body) == lines(filled)
    # Whoever goes on by offset has the offsets of the lines themselves.
    assert reply.headers["Accept-Ranges"] == (None if coding else "bytes")
    head = get(filled, "HEAD", Accept_Encoding=wanted)
    for name in ("Content-Encoding", "ETag", "Vary", "X-Index-Generation", "Content-Type", "Accept-Ranges"):
        assert head.headers[name] == reply.headers[name], name
    assert (head.body, head.headers["Content-Length"]) == (b"", None if coding else str(len(reply.body)))


def test_each_coding_has_a_tag_of_its_own_and_conditions_hold_for_that(filled: Receiver) -> None:
    tags = {
        coding: get(filled, Accept_Encoding=coding).headers["ETag"] for coding in ("zstd", "gzip", "identity")
    }
    assert len(set(tags.values())) == 3 and all(tag.startswith('"') for tag in tags.values())
    for coding, tag in tags.items():
        for other, its in tags.items():
            fresh = get(filled, Accept_Encoding=coding, If_None_Match=its)
            assert (fresh.status, fresh.headers["ETag"]) == (304 if other == coding else 200, tag)
            assert fresh.headers["Vary"] == "Accept-Encoding"
            assert get(filled, Accept_Encoding=coding, If_Match=its).status == (
                200 if other == coding else 412
            )
        assert get(filled, Accept_Encoding=coding, If_None_Match=f'W/{tag}, "x"').status == 304


def test_a_range_is_one_of_the_lines_themselves(filled: Receiver) -> None:
    plain = get(filled, Accept_Encoding="identity")
    part = get(filled, Accept_Encoding="zstd, gzip", Range="bytes=10-29")
    assert (part.status, part.body, part.headers["Content-Encoding"]) == (206, lines(filled)[10:30], None)
    assert (part.headers["Vary"], part.headers["ETag"]) == ("Accept-Encoding", plain.headers["ETag"])
    packed = get(filled, Accept_Encoding="zstd").headers["ETag"]
    for tag, status in ((packed, 200), (plain.headers["ETag"], 206)):
        part = get(filled, Accept_Encoding="zstd", Range="bytes=10-29", If_Range=tag)
        assert (part.status, part.headers["Content-Encoding"]) == (status, None)


def test_a_trainer_reads_it_compressed_over_a_kept_connection(filled: Receiver) -> None:
    remote = Remote(f"http://127.0.0.1:{filled.port}", TOKEN)
    for _ in range(2):
        body = remote.get_whole(INDEX)
        assert isinstance(body, Decoded) and body.length == len(lines(filled))
        assert whole(body) == lines(filled)
        assert body.length == 0 and body._body.leaves_its_connection
    remote._reader.drop()


@pytest.mark.parametrize(
    "spoil",
    [lambda body: body[:-9], lambda body: body[:5], lambda body: b"x" + body[1:], lambda body: body + b"\n",
     lambda body: body[:-2] + b"xx"],
    ids=["cut short", "cut in its header", "another format", "more behind it", "another checksum"],
)  # fmt: skip
def test_a_damaged_stream_is_told_and_never_believed(spoil: Callable[[bytes], bytes]) -> None:
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(b"a line\n" * 1000)
    with scripted([answer(spoil(packed))]) as (reader, _), pytest.raises(ReceiverFailed, match="damaged"):
        body = Decoded(reader.get("/"), WORDING)
        while body.read(100):
            pass

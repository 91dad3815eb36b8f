"""Reading an episode back: bytes, validators, ranges."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Answer, Receiver

EPISODE = make_episode(1, size=50_000)
SIZE = len(EPISODE.data)
PATH = "/v1/episodes/reader/e.tar.zst"
ETAG = f'"{EPISODE.sha256}"'


@pytest.fixture(autouse=True)
def stored(shared_receiver: Receiver) -> None:
    assert shared_receiver.put("reader", "e", EPISODE).status in (200, 201)


def get(receiver: Receiver, method: str = "GET", **headers: str) -> Answer:
    return receiver.request(method, PATH, headers=AUTH | {k.replace("_", "-"): v for k, v in headers.items()})


def test_the_bytes_come_back_with_their_digest(shared_receiver: Receiver) -> None:
    answer = get(shared_receiver)
    assert (answer.status, answer.body) == (200, EPISODE.data)
    assert answer.headers["ETag"] == ETAG
    digest = base64.b64encode(hashlib.sha256(EPISODE.data).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert answer.headers["Accept-Ranges"] == "bytes"
    head = get(shared_receiver, "HEAD")
    assert (head.status, head.body) == (200, b"")
    same = ("ETag", "Repr-Digest", "Content-Length", "Content-Type", "Last-Modified")
    assert [head.headers[name] for name in same] == [answer.headers[name] for name in same]


def test_reading_needs_the_token_and_a_stored_episode(shared_receiver: Receiver) -> None:
    assert shared_receiver.request("GET", PATH).status == 401
    for path in (
        "reader/other.tar.zst",
        "other/e.tar.zst",
        "reader/e",
        "..%2f..%2findex.jsonl",
        "reader/e.tar.zst/",
    ):
        for method in ("GET", "HEAD"):
            assert shared_receiver.request(method, f"/v1/episodes/{path}", headers=AUTH).status == 404


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=100-", (100, SIZE)),
        ("bytes=-7", (SIZE - 7, SIZE)),
        (f"bytes=-{SIZE + 5}", (0, SIZE)),
        (f"bytes=5-{SIZE + 5}", (5, SIZE)),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=5-3", None),
        ("nonsense", None),
    ],
)
def test_a_range_gives_its_part_and_what_is_no_range_the_whole(
    shared_receiver: Receiver, wanted: str, part: tuple[int, int] | None
) -> None:
    answer = get(shared_receiver, Range=wanted)
    if part is None:
        assert (answer.status, answer.body) == (200, EPISODE.data)
        return
    start, end = part
    assert (answer.status, answer.body) == (206, EPISODE.data[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"


def test_a_range_behind_the_end_is_416(shared_receiver: Receiver) -> None:
    answer = get(shared_receiver, Range=f"bytes={SIZE}-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert answer.json["code"] == "range-not-satisfiable"


def test_conditions(shared_receiver: Receiver) -> None:
    modified = get(shared_receiver, "HEAD").headers["Last-Modified"]
    long_ago = "Mon, 01 Jan 2001 00:00:00 GMT"
    expected = [
        (dict(If_None_Match=ETAG), 304),
        (dict(If_None_Match=f"W/{ETAG}"), 304),
        (dict(If_None_Match="*"), 304),
        (dict(If_None_Match='"x"'), 200),
        (dict(If_None_Match='"x"', If_Modified_Since=modified), 200),
        (dict(If_Modified_Since=modified), 304),
        (dict(If_Modified_Since=long_ago), 200),
        (dict(If_Modified_Since="yesterday"), 200),
        (dict(If_Match=ETAG), 200),
        (dict(If_Match="*"), 200),
        (dict(If_Match=f"W/{ETAG}"), 412),
        (dict(If_Match='"x"'), 412),
        (dict(If_Unmodified_Since=modified), 200),
        (dict(If_Unmodified_Since=long_ago), 412),
        (dict(If_Match=ETAG, If_Unmodified_Since=long_ago), 200),
        (dict(If_None_Match=ETAG, Range="bytes=0-1"), 304),
        (dict(If_Range=ETAG, Range="bytes=0-1"), 206),
        (dict(If_Range=f"W/{ETAG}", Range="bytes=0-1"), 200),
        (dict(If_Range='"x"', Range="bytes=0-1"), 200),
        (dict(If_Range=modified, Range="bytes=0-1"), 206),
        (dict(If_Range=long_ago, Range="bytes=0-1"), 200),
    ]
    for headers, status in expected:
        answer = get(shared_receiver, **headers)
        assert answer.status == status, headers
        if status in (200, 206, 304):
            assert answer.headers["ETag"] == ETAG
        if status == 304:
            assert answer.body == b""

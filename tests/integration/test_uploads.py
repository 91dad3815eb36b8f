"""Uploads in pieces, on the real server with two worker processes: what tus 1.0.0 and our own words promise of them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable

from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, Answer, Receiver, put_headers

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = TUS | {"Content-Type": "application/offset+octet-stream"}


def metadata(**said: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())


def creation(episode: Archive, host: str = "lab-1", name: str = "run-1", **more: str) -> dict[str, str]:
    said = {"host_id": host, "episode_id": name, "sha256": episode.sha256} | more
    return AUTH | TUS | {"Upload-Length": str(len(episode.data)), "Upload-Metadata": metadata(**said)}


def create(
    receiver: Receiver, episode: Archive, host: str = "lab-1", name: str = "run-1", **more: str
) -> str:
    answer = receiver.request("POST", "/v1/uploads", None, creation(episode, host, name, **more))
    assert answer.status == 201, answer.body
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Upload-Expires"].endswith("GMT")
    return answer.headers["Location"]


def send(receiver: Receiver, path: str, offset: int, data: bytes, **headers: str) -> Answer:
    return receiver.request("PATCH", path, data, AUTH | PIECE | {"Upload-Offset": str(offset)} | headers)


def head(receiver: Receiver, path: str) -> Answer:
    answer = receiver.request("HEAD", path, None, AUTH | TUS)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return answer


def offset_of(receiver: Receiver, path: str) -> int:
    answer = head(receiver, path)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def test_an_episode_comes_in_pieces_and_is_one(receiver: Receiver) -> None:
    episode = make_episode(1, size=3_000_001)
    path = create(receiver, episode, code_commit="AB" * 20, episode_type="infected", benign_profile="idle")
    assert head(receiver, path).headers["Upload-Length"] == str(len(episode.data))
    offset = 0
    for size in (1, 4096, 1 << 20, 777):
        answer = send(receiver, path, offset, episode.data[offset : offset + size])
        offset += size
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(offset))
        assert "X-Episode-Status" not in answer.headers
        assert offset_of(receiver, path) == offset
    assert receiver.index() == []
    last = send(receiver, path, offset, episode.data[offset:])
    assert last.status == 204
    told = ("stored", f"sha-256=:{base64.b64encode(bytes.fromhex(episode.sha256)).decode()}:")
    assert (last.headers["X-Episode-Status"], last.headers["Repr-Digest"]) == told
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): episode.data}
    assert receiver.incoming() == []
    [line] = receiver.index()
    assert (line["code_commit"], line["episode_type"], line["benign_profile"]) == (
        "ab" * 20,
        "infected",
        "idle",
    )
    # Asked again, in every way, it says the same.
    again = [
        head(receiver, path),
        send(receiver, path, offset, episode.data[offset:]),
        send(receiver, path, 0, episode.data),
    ]
    assert [one.status for one in again] == [200, 204, 204]
    for one in again:
        assert (one.headers["X-Episode-Status"], one.headers["Repr-Digest"]) == told
        assert one.headers["Upload-Offset"] == str(len(episode.data))
    shown = receiver.request("GET", path, None, AUTH)
    assert shown.json["status"] == "stored"
    assert len(receiver.index()) == 1


def test_a_creation_may_bring_the_whole(receiver: Receiver) -> None:
    episode = make_episode(2, size=200_000)
    headers = creation(episode) | PIECE
    answer = receiver.request("POST", "/v1/uploads", episode.data, headers)
    assert answer.status == 201
    assert {
        "status": "stored",
        "sha256": episode.sha256,
        "size_bytes": len(episode.data),
    }.items() <= answer.json.items()
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): episode.data}
    # The same bytes again: no error, and the client is done at once.
    repeated = receiver.request("POST", "/v1/uploads", None, creation(episode))
    assert repeated.status == 201
    assert repeated.headers["X-Episode-Status"] == "already-present"
    assert repeated.headers["Upload-Offset"] == str(len(episode.data))
    whole = send(receiver, repeated.headers["Location"], 0, episode.data)
    assert (whole.status, whole.headers["X-Episode-Status"]) == (204, "already-present")
    other = make_episode(3)
    conflict = receiver.request("POST", "/v1/uploads", None, creation(other))
    assert (conflict.status, conflict.json["existing_sha256"]) == (409, episode.sha256)


def test_the_headers_of_a_put_are_as_good_as_metadata(receiver: Receiver) -> None:
    episode = make_episode(4)
    headers = put_headers(episode) | TUS | {
        "Upload-Length": str(len(episode.data)),
        "Upload-Metadata": "",
        "X-Host-Id": "lab-9",
        "X-Episode-Id": "by-headers",
        "X-Episode-Type": "control",
    }  # fmt: skip
    answer = receiver.request("POST", "/v1/uploads", None, headers)
    assert answer.status == 201
    assert send(receiver, answer.headers["Location"], 0, episode.data).headers["X-Episode-Status"] == "stored"
    assert receiver.index()[0]["episode_type"] == "control"


def test_a_request_that_is_cut_keeps_every_byte(receiver: Receiver) -> None:
    episode = make_episode(5, size=5_000_000)
    path = create(receiver, episode)
    sent = 0
    for size in (3, 1_500_000, 2_000_000):
        with contextlib.closing(receiver.raw()) as connection:
            connection.sendall(_patch_head(path, sent, len(episode.data) - sent))
            connection.sendall(episode.data[sent : sent + size])
        sent += size
        assert _wait_for_offset(receiver, path, sent) == sent
    assert send(receiver, path, sent, episode.data[sent:]).headers["X-Episode-Status"] == "stored"
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): episode.data}


def _patch_head(path: str, offset: int, length: int) -> bytes:
    lines = [
        f"PATCH {path} HTTP/1.1", "Host: x", f"Authorization: {AUTH['Authorization']}", "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream", f"Upload-Offset: {offset}", f"Content-Length: {length}",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _wait_for_offset(receiver: Receiver, path: str, wanted: int) -> int:
    deadline = time.monotonic() + 10
    while (offset := offset_of(receiver, path)) != wanted and time.monotonic() < deadline:
        pass
    return offset


def test_one_writer_at_a_time_and_a_silent_one_makes_way(receiver: Receiver) -> None:
    episode = make_episode(6, size=100_000)
    path = create(receiver, episode)
    with contextlib.closing(receiver.raw()) as silent:
        silent.sendall(_patch_head(path, 0, len(episode.data)) + episode.data[:40_000])
        # What came is put down though its client pauses.
        assert _wait_for_offset(receiver, path, 40_000) == 40_000
        silent.sendall(episode.data[40_000:40_001])
        began = time.monotonic()
        answers = [send(receiver, path, 40_001, episode.data[40_001:])]
        assert answers[0].status == 423
        while answers[-1].status == 423 and time.monotonic() < began + 20:
            time.sleep(0.2)
            answers.append(send(receiver, path, 40_001, episode.data[40_001:]))
        assert answers[-1].headers["X-Episode-Status"] == "stored"
        assert time.monotonic() - began < 10


def test_wrong_bytes_end_it_and_nothing_stays(receiver: Receiver) -> None:
    episode = make_episode(7, size=50_000)
    path = create(receiver, episode)
    answer = send(receiver, path, 0, bytes(len(episode.data)))
    assert (answer.status, answer.json["status"]) == (400, "sha-mismatch")
    assert answer.json["actual_sha256"] == hashlib.sha256(bytes(len(episode.data))).hexdigest()
    assert receiver.incoming() == []
    assert receiver.stored() == {}
    assert (head(receiver, path).status, send(receiver, path, 0, episode.data).status) == (400, 400)
    facts = (receiver.data_dir / "rejections.jsonl").read_text().splitlines()
    codes = [json.loads(fact)["code"] for fact in facts]
    assert codes == ["sha-mismatch"]


def test_a_checksum_is_all_or_nothing(receiver: Receiver) -> None:
    episode = make_episode(8, size=90_000)
    path = create(receiver, episode)
    first = episode.data[:30_000]

    def of(data: bytes) -> str:
        return f"sha256 {base64.b64encode(hashlib.sha256(data).digest()).decode()}"

    wrong = send(receiver, path, 0, first, **{"Upload-Checksum": of(b"else")})
    assert (wrong.status, offset_of(receiver, path)) == (460, 0)
    with contextlib.closing(receiver.raw()) as cut:
        text = _patch_head(path, 0, len(first)).replace(
            b"\r\n\r\n", f"\r\nUpload-Checksum: {of(first)}\r\n\r\n".encode()
        )
        cut.sendall(text + first[:10_000])
    assert offset_of(receiver, path) == 0
    right = send(receiver, path, 0, first, **{"Upload-Checksum": of(first)})
    assert (right.status, right.headers["Upload-Offset"]) == (204, "30000")
    assert send(receiver, path, 30_000, episode.data[30_000:]).status == 204
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): episode.data}


def test_what_is_refused(receiver: Receiver) -> None:
    episode = make_episode(9, size=10_000)
    path = create(receiver, episode)
    good = creation(episode, name="other")

    def post(**changed: str | None) -> tuple[int, str]:
        headers = {name: value for name, value in (good | changed).items() if value is not None}
        answer = receiver.request("POST", "/v1/uploads", None, headers)
        return answer.status, answer.json["code"]

    assert post(Authorization=None) == (401, "missing-bearer-token")
    assert post(**{"Tus-Resumable": None}) == (412, "unsupported-tus-version")
    assert post(**{"Tus-Resumable": "0.2.2"}) == (412, "unsupported-tus-version")
    assert post(**{"Upload-Metadata": None}) == (400, "bad-episode-name")
    assert post(**{"Upload-Metadata": "a b c"}) == (400, "bad-upload-header")
    assert post(**{"Upload-Metadata": metadata(host_id="a", episode_id="b")}) == (400, "bad-sha256-header")
    assert post(**{"Upload-Length": None}) == (411, "length-required")
    assert post(**{"Upload-Length": "x"}) == (400, "bad-content-length")
    assert post(**{"Upload-Length": "9" * 30}) == (413, "episode-too-large")

    def patch(**changed: str | None) -> tuple[int, str]:
        headers = AUTH | PIECE | {"Upload-Offset": "0"} | changed
        answer = receiver.request(
            "PATCH", path, b"abc", {name: value for name, value in headers.items() if value is not None}
        )
        return answer.status, answer.json["code"]

    assert patch(**{"Tus-Resumable": None}) == (412, "unsupported-tus-version")
    assert patch(**{"Content-Type": "application/octet-stream"}) == (415, "bad-content-type")
    assert patch(**{"Upload-Offset": "-1"}) == (400, "bad-upload-header")
    assert patch(**{"Upload-Offset": "7"}) == (409, "offset-mismatch")
    assert patch(**{"Upload-Checksum": "md5 abc"}) == (400, "bad-upload-header")
    too_long = send(receiver, path, 0, episode.data + b"x")
    assert (too_long.status, offset_of(receiver, path)) == (413, 0)
    assert head(receiver, "/v1/uploads/" + "0" * 32).status == 404
    assert head(receiver, "/v1/uploads/..").status == 404


def test_it_is_its_makers_and_can_be_ended(receiver: Receiver) -> None:
    episode = make_episode(10, size=10_000)
    path = create(receiver, episode)
    assert send(receiver, path, 0, episode.data[:100]).status == 204
    listed = receiver.request("GET", "/v1/uploads", None, AUTH).json["uploads"]
    assert [(one["host_id"], one["offset"], one["status"]) for one in listed] == [("lab-1", 100, "under-way")]
    assert receiver.request("DELETE", path, None, AUTH | TUS).status == 204
    assert head(receiver, path).status == 404
    assert receiver.incoming() == []
    again = create(receiver, episode)
    override = AUTH | PIECE | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert receiver.request("POST", again, episode.data, override).headers["X-Episode-Status"] == "stored"


def test_an_upload_whose_episode_came_another_way_goes(receiver: Receiver) -> None:
    episode = make_episode(14, size=20_000)
    path = create(receiver, episode)
    assert send(receiver, path, 0, episode.data[:10_000]).status == 204
    assert receiver.put("lab-1", "run-1", episode).status == 201
    create(receiver, episode, name="another")
    assert len(receiver.incoming()) == 2
    assert head(receiver, path).headers["X-Episode-Status"] == "already-present"


def test_a_restart_loses_nothing_that_was_told(receiver: Receiver) -> None:
    episode = make_episode(11, size=2_000_000)
    path = create(receiver, episode)
    assert send(receiver, path, 0, episode.data[:1_234_567]).status == 204
    receiver.kill()
    receiver.start()
    assert offset_of(receiver, path) == 1_234_567
    assert send(receiver, path, 1_234_567, episode.data[1_234_567:]).headers["X-Episode-Status"] == "stored"
    receiver.kill()
    receiver.start()
    assert head(receiver, path).headers["X-Episode-Status"] == "stored"
    assert receiver.stored() == {("lab-1", "run-1.tar.zst"): episode.data}


def test_what_waits_counts_against_the_reserve(start_receiver: Callable[..., Receiver]) -> None:
    probe = os.statvfs("/tmp")
    free = probe.f_bavail * probe.f_frsize
    receiver = start_receiver(disk_reserve_bytes=free // 2, max_episode_bytes=1 << 47)
    episode = make_episode(12, size=10_000)
    path = ""
    for name in ("one", "two"):
        headers = creation(episode, name=name) | {"Upload-Length": str(free // 3)}
        answer = receiver.request("POST", "/v1/uploads", None, headers)
        if name == "one":
            assert answer.status == 201
            path = answer.headers["Location"]
        else:
            assert (answer.status, answer.json["code"]) == (507, "disk-reserve")
    time.sleep(1.1)
    large = receiver.request(
        "PUT", "/v1/episodes/lab-1/p.tar.zst", b"", put_headers(episode) | {"Content-Length": str(free // 3)}
    )
    assert large.status == 507
    assert receiver.request("DELETE", path, None, AUTH | TUS).status == 204

"""What is in an archive is told without extracting it, within bounds, and whatever the archive is."""

from __future__ import annotations

import io
import json
import random
import tarfile
import threading
from typing import Any

import pytest
import zstandard

from cis490_receiver.archive import Limits, look
from cis490_receiver.archive.contents import MAX_MEMBERS, MAX_NAME
from tests.support.archives import Archive, make_episode, pack
from tests.support.receiver import AUTH, Answer, Receiver

META = json.dumps({"schema_version": 2, "note": "<b>ü</b>"}).encode()
CUT = pack({"meta.json": META, "a": random.Random(1).randbytes(600_000)})[:-200]


def contents(receiver: Receiver, host_id: str, episode_id: str, **headers: str) -> Answer:
    return receiver.request("GET", f"/v1/episodes/{host_id}/{episode_id}/contents", headers=AUTH | headers)


def zeros(size: int) -> Archive:
    """A MiB or so that decompresses to a meta.json and one member of `size` zeros."""
    head = tarfile.TarInfo("zeros")
    head.size = size
    compressor = zstandard.ZstdCompressor().compressobj()
    packed = [compressor.compress(head.tobuf())]
    packed += [compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return Archive(b"".join([*packed, compressor.compress(bytes(1024)), compressor.flush()]))


def test_members_and_meta_of_a_good_archive(shared_receiver: Receiver) -> None:
    episode = make_episode(1, size=3000, meta={"note": "x"})
    assert shared_receiver.put("h", "good", episode).status == 201
    answer = contents(shared_receiver, "h", "good")
    assert answer.status == 200
    assert answer.json["members"][1] == {"name": "telemetry.bin", "kind": "file", "size_bytes": 3000}
    assert answer.json["meta"]["note"] == "x" and answer.json["meta_problem"] is None
    assert answer.json["problem"] is None
    assert (answer.json["sha256"], answer.json["size_bytes"]) == (episode.sha256, len(episode.data))


@pytest.mark.parametrize(
    ("name", "data", "code", "members", "meta_problem"),
    [
        ("text", b"this is no archive", "bad-archive", [], "no meta.json"),
        ("cut", CUT, "cut-short", ["meta.json", "a"], None),
        ("none", pack({"../../etc/passwd": b"x", "<i>": b""}), None, ["../../etc/passwd", "<i>"], "no meta.json"),
        ("array", pack({"meta.json": b"[]", "a": b"x"}), None, ["meta.json", "a"], "not a JSON object"),
        ("deep", pack({"meta.json": b"[" * 100_000, "a": b"x"}), None, ["meta.json", "a"], "not JSON"),
        ("vast", pack({"meta.json": bytes(2 << 20), "a": b"x"}), None, ["meta.json", "a"], "larger"),
        ("bomb", None, "look-ended", ["zeros"], "what was seen"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    shared_receiver: Receiver,
    name: str,
    data: bytes | None,
    code: str | None,
    members: list[str],
    meta_problem: str | None,
) -> None:
    archive = zeros(1200 << 20) if data is None else Archive(data)
    assert shared_receiver.put("odd", name, archive).status == 201
    answer = contents(shared_receiver, "odd", name)
    assert answer.status == 200, answer
    assert [member["name"] for member in answer.json["members"]] == members
    assert (answer.json["problem"] or {}).get("code") == code, answer.json["problem"]
    if meta_problem is None:
        assert answer.json["meta"] == json.loads(META)
    else:
        assert answer.json["meta"] is None and meta_problem in answer.json["meta_problem"]


def test_long_lists_and_long_names_are_cut() -> None:
    many = {f"m{number}": b"" for number in range(MAX_MEMBERS + 1)}
    found = look(io.BytesIO(pack(many)))
    assert len(found.members) == MAX_MEMBERS and found.problem
    assert found.problem.code == "look-ended"
    found = look(io.BytesIO(pack({"n" * 100_000: b""})))
    assert len(found.members[0].name) == MAX_NAME + 1


def test_a_look_ends_when_its_seconds_are_over() -> None:
    ticks = iter(range(1000))
    found = look(
        io.BytesIO(pack({f"m{number}": b"" for number in range(500)})),
        limits=Limits(1 << 30, 10_000, 20.0),
        clock=lambda: float(next(ticks)),
    )
    assert found.problem and found.problem.code == "look-ended" and "20 s" in found.problem.text
    assert 0 < len(found.members) < 500


@pytest.mark.parametrize("path", ["h/absent", "h/good.tar.zst", "..%2f/x", "h/%2e%2e", "h/a%0ab"])
def test_what_is_not_stored_has_no_contents(shared_receiver: Receiver, path: str) -> None:
    answer = shared_receiver.request("GET", f"/v1/episodes/{path}/contents", headers=AUTH)
    assert (answer.status, answer.json["code"]) == (404, "not-found")


def test_contents_need_a_token(shared_receiver: Receiver) -> None:
    assert shared_receiver.request("GET", "/v1/episodes/h/good/contents").status == 401


def test_many_looks_at_once_leave_threads_for_others(shared_receiver: Receiver) -> None:
    shared_receiver.put("odd", "bomb2", zeros(1100 << 20))
    answers: list[Answer] = []

    def ask() -> None:
        answers.append(contents(shared_receiver, "odd", "bomb2"))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert shared_receiver.put("h", "meanwhile", make_episode(5)).status == 201
    for thread in threads:
        thread.join()
    statuses: dict[int, Any] = {answer.status: answer for answer in answers}
    assert set(statuses) == {200, 503}
    assert statuses[503].json["code"] == "looks-busy" and statuses[503].headers["Retry-After"] == "3"

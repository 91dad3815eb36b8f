"""What a body that was taken comes to, on the real server with two worker processes."""

from __future__ import annotations

import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cis490_receiver.models import Episode
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver, put_headers


def test_new_then_repeat_then_conflict(receiver: Receiver) -> None:
    episode, other = make_episode(1), make_episode(2)
    headers = {
        "X_Schema_Version": "3",
        "X_Cis490_Code_Commit": "  " + "AB" * 20,
        "X_Episode_Type": "Infected",
        "X_Benign_Profile": " web_visitor ",
        "X_Content_SHA256": episode.sha256.upper(),
    }
    first = receiver.put("host-1", "run.1_a-B", episode, **headers)
    assert first.status == 201
    assert first.json == {"status": "stored", "sha256": episode.sha256, "size_bytes": len(episode.data)}
    again = receiver.put("host-1", "run.1_a-B", episode, **headers)
    assert (again.status, again.json) == (200, {"status": "already-present", "sha256": episode.sha256})
    conflict = receiver.put("host-1", "run.1_a-B", other)
    assert conflict.status == 409
    assert conflict.json["status"] == "conflict"
    assert conflict.json["existing_sha256"] == episode.sha256

    assert receiver.stored() == {("host-1", "run.1_a-B.tar.zst"): episode.data}
    assert receiver.incoming() == []
    [line] = receiver.index()
    assert list(line) == [
        "host_id", "episode_id", "sha256", "size_bytes", "schema_version", "code_commit", "episode_type",
        "benign_profile", "received_at_wall", "received_at_ns",
    ]  # fmt: skip
    assert line["schema_version"] == 3
    assert line["code_commit"] == "ab" * 20
    assert (line["episode_type"], line["benign_profile"]) == ("infected", "web_visitor")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["received_at_wall"])
    assert Episode.from_dict(line).as_dict() == line
    log = receiver.log_text()
    assert f"stored host=host-1 id=run.1_a-B sha={episode.sha256} size={len(episode.data)} seconds=" in log
    assert re.search(r"WARNING refused host=host-1 id=run.1_a-B status=409 code=conflict", log)


def test_a_chunked_body_is_stored_byte_for_byte(shared_receiver: Receiver) -> None:
    episode = make_episode(5, size=3_000_000)
    step = 70_001
    pieces = (episode.data[start : start + step] for start in range(0, len(episode.data), step))
    answer = shared_receiver.request(
        "PUT", "/v1/episodes/chunky/e.tar.zst", pieces, put_headers(episode), encode_chunked=True
    )
    assert answer.status == 201
    assert shared_receiver.stored()["chunky", "e.tar.zst"] == episode.data


def test_the_smallest_and_the_longest_names(shared_receiver: Receiver) -> None:
    episode = make_episode(6)
    for host, name in [("h", "e"), ("H" * 128, "E" * 128), ("0", "x.tar.zst")]:
        assert shared_receiver.put(host, name, episode).status == 201
        assert shared_receiver.put(host, name, episode).status == 200
        assert shared_receiver.stored()[host, f"{name}.tar.zst"] == episode.data
    assert shared_receiver.incoming() == []


def test_an_empty_body_is_an_episode_of_no_bytes(shared_receiver: Receiver) -> None:
    empty = make_episode(7)
    object.__setattr__(empty, "data", b"")
    assert shared_receiver.put("empty", "e", empty).json["size_bytes"] == 0


@pytest.mark.parametrize("same", [True, False], ids=["same bytes", "different bytes"])
def test_writers_of_one_name_store_once(shared_receiver: Receiver, same: bool) -> None:
    writers = 16
    host = f"race-{same}"
    episodes = [make_episode(0 if same else number, size=200_000) for number in range(writers)]
    start = threading.Barrier(writers)

    def write(number: int, round_: int) -> int:
        start.wait()
        answer = shared_receiver.put(host, f"e{round_}", episodes[number])
        if answer.status in (200, 201):
            assert answer.json["sha256"] == episodes[number].sha256
        return answer.status

    with ThreadPoolExecutor(writers) as pool:
        for round_ in range(5):
            statuses = sorted(pool.map(write, range(writers), [round_] * writers))
            assert statuses == ([200] * 15 + [201] if same else [201] + [409] * 15)
    lines = [line for line in shared_receiver.index() if line["host_id"] == host]
    assert len(lines) == 5
    stored = shared_receiver.stored()
    for line in lines:
        kept = [e for e in episodes if e.sha256 == line["sha256"]]
        assert stored[host, f"{line['episode_id']}.tar.zst"] == kept[0].data
    assert shared_receiver.incoming() == []


def test_every_outcome_is_one_line_and_no_control_character_is_logged(shared_receiver: Receiver) -> None:
    episode = make_episode(8)
    before = len(shared_receiver.log_text())
    shared_receiver.request(
        "PUT", "/v1/episodes/a%0Astored%20host=x/e%1b[2J.tar.zst", episode.data, put_headers(episode)
    )
    shared_receiver.put("log", "e", episode, X_Cis490_Code_Commit="\xff not a commit")
    lines = shared_receiver.log_text()[before:].splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and line.isascii() for line in lines)
    assert "refused" in lines[0] and "stored host=log" in lines[1]


def test_refused_puts_are_facts(receiver: Receiver) -> None:
    import json

    episode = make_episode(9)
    receiver.put("h", "e", episode, X_Schema_Version="x", X_Cis490_Code_Commit="c" * 40)
    receiver.put("h", "e", episode, Authorization="Bearer wrong")

    def facts(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (receiver.data_dir / name).read_text().splitlines()]

    [fact] = facts("rejections.jsonl")
    assert (fact["host_id"], fact["episode_id"], fact["status"]) == ("h", "e", 400)
    assert (fact["code"], fact["code_commit"]) == ("bad-schema-version", "c" * 40)
    [flood] = facts("rejections-unauthenticated.jsonl")
    assert (flood["status"], flood["authenticated"]) == (401, False)


def test_a_stored_copy_that_lost_bytes_is_not_taken_for_the_episode(receiver: Receiver) -> None:
    assert receiver.put("h", "e", make_episode(1)).status == 201
    stored = receiver.data_dir / "episodes" / "h" / "e.tar.zst"
    os.truncate(stored, 10)
    answer = receiver.put("h", "e", make_episode(1))
    assert (answer.status, answer.json["code"]) == (500, "episode-damaged")
    assert "verify --quarantine" in answer.json["error"] and answer.headers["Retry-After"]
    assert stored.stat().st_size == 10
    assert len(receiver.index()) == 1


def test_a_line_that_no_program_of_ours_wrote_does_not_turn_reading_off(receiver: Receiver) -> None:
    assert receiver.put("h", "e", make_episode(1)).status == 201
    journal = receiver.data_dir / "index.jsonl"
    line = journal.read_bytes()
    odd = json.loads(line) | {"episode_id": "odd", "code_commit": "\ud800"}
    journal.write_bytes(line + json.dumps(odd).encode() + b"\n")
    page = receiver.request("GET", "/v1/episodes", headers=AUTH)
    assert [episode["episode_id"] for episode in page.json["episodes"]] == ["e"]
    assert receiver.put("h", "e", make_episode(1)).status == 200

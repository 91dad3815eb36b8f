"""Step 5 of "PUT an episode", on the real server with two workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cis490_receiver.state.gate_list import GATE_FILE
from tests.gate.snapshots import commit_id, make_snapshot, write
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Answer, Receiver, running

EPISODE = make_episode(1)
EXTRA = "e" * 40
WORKERS = 2
#: Within this the contract wants a new snapshot to be in force in every worker.
TAKEN_UP_SECONDS = 1.0
#: What is granted on top to a machine that does other things at the same time.
BUSY_MACHINE_SECONDS = 1.5


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that accepts the commits 3, 2 and the extra one, and knows 1 as too old."""
    folder = tmp_path_factory.mktemp("gated")
    (folder / "data").mkdir()
    write(folder / "data", make_snapshot(3, 2, older=(1,)))
    with running(folder, gate_enabled=True, gate_extra_commits=EXTRA, workers=WORKERS) as started:
        yield started


@pytest.fixture
def own(start_receiver: Any, tmp_path: Any) -> Receiver:
    """One whose gate.json a test may change; it accepts commit 1."""
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", make_snapshot(1))
    started: Receiver = start_receiver(gate_enabled=True, workers=WORKERS)
    return started


def put(receiver: Receiver, episode: str, commit: str | None) -> Answer:
    headers = {} if commit is None else {"X_Cis490_Code_Commit": commit}
    return receiver.put("h", episode, EPISODE, **headers)


def gate_warnings(ready: Answer) -> list[dict[str, Any]]:
    return [warning for warning in ready.json["warnings"] if warning["code"].startswith("gate-")]


def ping(receiver: Receiver, commit: str) -> Any:
    headers = AUTH | {"X-Cis490-Code-Commit": commit, "X-Schema-Version": "2"}
    return receiver.request("POST", "/v1/ping", headers=headers).json


MISSING = "missing X-Cis490-Code-Commit header"
MALFORMED = "X-Cis490-Code-Commit must be 40 lowercase hex"
REJECTED = "code commit rejected: not in receiver's allow-list"


@pytest.mark.parametrize(
    ("commit", "status", "error"),
    [
        (None, 400, MISSING),
        ("", 400, MISSING),
        ("   ", 400, MISSING),
        ("abc123", 400, MALFORMED),
        ("main", 400, MALFORMED),
        ("g" * 40, 400, MALFORMED),
        ("a" * 39, 400, MALFORMED),
        ("a" * 41, 400, MALFORMED),
        (f"{commit_id(3)}, {commit_id(3)}", 400, MALFORMED),
        ("\xe9" * 40, 400, MALFORMED),
        ("0" * 8000, 400, MALFORMED),
        (commit_id(1), 412, REJECTED),
        ("f" * 40, 412, REJECTED),
        ("F" * 40, 412, REJECTED),
    ],
)
def test_a_refusal_says_what_to_do_and_the_ping_says_the_same(
    gated: Receiver, commit: str | None, status: int, error: str
) -> None:
    answer = put(gated, "refused", commit)
    assert (answer.status, answer.json["error"], answer.json["see_also"]) == (status, error, "FIXYOURSELF.md")
    assert "git" in answer.json["remediation"] and "FIXYOURSELF.md, step 1" in answer.json["remediation"]
    if status == 412:
        assert commit is not None
        assert answer.json["your_commit"] == commit.lower()
        assert (answer.json["valid_window_size"], answer.json["head_commit"]) == (2, commit_id(3))
        assert "do not send a commit id other than the one that ran" in answer.json["remediation"]
        assert ("2 commits older" in answer.json["remediation"]) is (commit == commit_id(1))
        assert ("not on origin/main" in answer.json["remediation"]) is (commit != commit_id(1))
    if commit is not None:
        told = ping(gated, commit)
        assert told["would_accept"] is False
        assert {key: told[key] for key in answer.json} == answer.json
    assert gated.stored().keys() & {("h", "refused.tar.zst")} == set()


def test_steps_before_the_gate_answer_first_and_those_after_it_later(gated: Receiver) -> None:
    bad = {"X_Cis490_Code_Commit": "main"}
    assert gated.put("h", "e", EPISODE, X_Schema_Version="two", **bad).json["code"] == "bad-schema-version"
    assert gated.put("h", "e", EPISODE, X_Content_SHA256="x", **bad).json["code"] == "bad-sha256-header"
    assert gated.put("h", "e", EPISODE, Authorization="Bearer x", **bad).status == 401
    huge = {"Content_Length": str(10**15)}
    assert gated.put("h", "e", EPISODE, **huge, **bad).json["code"] == "malformed-commit"
    taken = {"X_Cis490_Code_Commit": commit_id(3)}
    assert gated.put("h", "e", EPISODE, **huge, **taken).json["code"] == "episode-too-large"


@pytest.mark.parametrize(
    "commit", [commit_id(3), f" {commit_id(2)}\t", EXTRA, EXTRA.upper(), f"  {EXTRA.upper()} "]
)
def test_a_commit_of_the_list_is_taken_trimmed_and_in_any_case(gated: Receiver, commit: str) -> None:
    episode = f"taken-{len(gated.index())}"
    assert ping(gated, commit)["would_accept"] is True
    assert put(gated, episode, commit).status == 201
    [line] = [line for line in gated.index() if line["episode_id"] == episode]
    assert line["code_commit"] == commit.strip().lower()


def test_the_gate_stands_before_episodes_only(gated: Receiver) -> None:
    assert gated.request("PUT", "/v1/host-health/sick", b'{"ok": false}', AUTH).status == 200
    behind = AUTH | {"X-Cis490-Code-Commit": commit_id(1)}
    assert gated.request("PUT", "/v1/host-health/sick", b'{"ok": false}', behind).status == 200


def test_without_a_list_the_receiver_is_not_ready_and_blames_nobody(own: Receiver) -> None:
    (own.data_dir / GATE_FILE).unlink()
    wait_for_each_worker(own, 1, "gate-unavailable")
    answer = put(own, "e", commit_id(1))
    assert (answer.status, answer.json["code"]) == (503, "gate-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "remediation" not in answer.json
    # What is wrong whatever the list says is said at once.
    assert put(own, "e", "main").status == 400 and put(own, "e", None).status == 400
    ready = own.request("GET", "/v1/ready")
    assert (ready.status, ready.json["reasons"]) == (503, ["gate-unavailable"])
    assert int(ready.headers["Retry-After"]) > 0
    write(own.data_dir, make_snapshot(1))
    wait_for_each_worker(own, 1, None)
    assert put(own, "e", commit_id(1)).status == 201
    deadline, in_a_row = time.monotonic() + 5, 0
    while in_a_row < 40:
        assert time.monotonic() < deadline
        in_a_row = in_a_row + 1 if own.request("GET", "/v1/ready").status == 200 else 0


def wait_for_each_worker(receiver: Receiver, number: int, code: str | None, *, in_a_row: int = 40) -> float:
    """Until every answer of a long row is `code`; gives how many seconds the last other one was away.

    The kernel deals connections out to whichever worker is free, so a row of 40 without one of them would
    be strange.
    """
    started = last_other = time.monotonic()
    row = 0
    while row < in_a_row:
        if ping(receiver, commit_id(number)).get("code") == code:
            row += 1
            continue
        row, last_other = 0, time.monotonic()
        assert last_other - started < 10, "a worker never took it up"
    return last_other - started


def loaded(receiver: Receiver, name: str) -> int:
    """How many log lines are `name`, over all workers."""
    return sum(f" {name} " in line for line in receiver.log_text().splitlines())


def test_a_new_list_is_in_force_in_every_worker_within_a_second(own: Receiver) -> None:
    wait_for_each_worker(own, 1, None)
    head = f"gate-loaded head={commit_id(2)}"
    written = time.monotonic()
    write(own.data_dir, make_snapshot(2, older=(1,)))
    while own.log_text().count(head) < WORKERS:
        ping(own, commit_id(2))
        assert time.monotonic() - written < 10, "a worker never took it up"
    assert time.monotonic() - written < TAKEN_UP_SECONDS + BUSY_MACHINE_SECONDS
    assert wait_for_each_worker(own, 2, None) == 0, "a worker went back to the old list"
    assert ping(own, commit_id(1))["reason"] == "behind"
    assert own.log_text().count(head) == WORKERS


def test_a_damaged_list_leaves_the_last_good_one_in_force_and_is_logged_once_a_worker(own: Receiver) -> None:
    wait_for_each_worker(own, 1, None)
    path = own.data_dir / GATE_FILE
    path.write_bytes(path.read_bytes()[:100])
    deadline = time.monotonic() + 10
    while loaded(own, "gate-damaged") < WORKERS:
        assert ping(own, commit_id(1))["would_accept"] is True
        assert time.monotonic() < deadline
    looked_again = time.monotonic() + 1.2
    while time.monotonic() < looked_again:
        assert ping(own, commit_id(1))["would_accept"] is True
    assert loaded(own, "gate-damaged") == WORKERS
    assert put(own, "kept", commit_id(1)).status == 201
    assert own.request("GET", "/v1/ready").status == 200
    # A worker that starts now has nothing good to keep.
    assert own.stop() == 0
    own.start()
    assert put(own, "fresh", commit_id(1)).status == 503


def test_an_old_list_is_in_force_and_reported(own: Receiver) -> None:
    write(own.data_dir, make_snapshot(2, age_seconds=25 * 3600))
    wait_for_each_worker(own, 2, None)
    ready = own.request("GET", "/v1/ready")
    assert ready.status == 200
    [warning] = gate_warnings(ready)
    assert warning["code"] == "gate-stale" and 25 * 3600 <= warning["age_seconds"] < 25 * 3600 + 60
    write(own.data_dir, make_snapshot(3, age_seconds=23 * 3600))
    wait_for_each_worker(own, 3, None)
    assert gate_warnings(own.request("GET", "/v1/ready")) == []

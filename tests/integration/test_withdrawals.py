"""What is withdrawn is out of every listing at once, stays where it is, and can be brought back."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

import pytest

from cis490_receiver.errors import StorageFailed
from cis490_receiver.filters import Filters
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.index.withdrawals import WithdrawalFile
from cis490_receiver.withdrawal import Withdrawal
from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment
from tests.unit.test_journal import record


def run(data_dir: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [BIN / "cis490-receiver", *arguments],
        env=clean_environment(data_dir=data_dir),
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def episode(number: int, commit: str) -> Archive:
    return make_episode(number, meta={"code_commit": commit})


def listed(receiver: Receiver, query: str = "") -> list[str]:
    answer = receiver.request("GET", f"/v1/episodes?{query}", headers=AUTH)
    assert answer.status == 200, answer.body
    return sorted(item["episode_id"] for item in answer.json["episodes"])


def test_what_is_withdrawn_is_left_out_everywhere_and_stays(receiver: Receiver) -> None:
    bad, good = "b" * 40, "a" * 40
    for number in range(4):
        commit = bad if number % 2 else good
        assert (
            receiver.put("h", f"e{number}", episode(number, commit), X_Cis490_Code_Commit=commit).status
            == 201
        )
    index = (receiver.data_dir / "index.jsonl").read_bytes()
    tried = json.loads(run(receiver.data_dir, "withdraw", "--commit", bad, "--dry-run", "--json"))
    assert (tried["episodes"], tried["hosts"][0]["host_id"]) == (2, "h") and len(listed(receiver)) == 4
    why = "clock was wrong, 100 % of it"
    run(receiver.data_dir, "withdraw", "--commit", bad, "--why", why)
    assert listed(receiver) == ["e0", "e2"]
    assert listed(receiver, "withdrawn=only") == ["e1", "e3"]
    assert listed(receiver, "withdrawn=include") == ["e0", "e1", "e2", "e3"]
    assert receiver.request("GET", "/v1/episodes?withdrawn=odd", headers=AUTH).status == 400
    [first, second] = receiver.request("GET", "/v1/episodes?withdrawn=include&limit=2", headers=AUTH).json[
        "episodes"
    ]
    assert (first["withdrawn_why"], second["withdrawn_why"]) == (why, None)
    assert first["withdrawn_at_wall"].endswith("Z") and second["withdrawn_at_wall"] is None
    # The bytes, the name and the line stay.
    answer = receiver.request("GET", "/v1/episodes/h/e1.tar.zst", headers=AUTH)
    assert answer.status == 200 and answer.body == episode(1, bad).data
    assert unquote(answer.headers["X-Withdrawn"]) == why and " " not in answer.headers["X-Withdrawn"]
    assert "X-Withdrawn" not in receiver.request("HEAD", "/v1/episodes/h/e0.tar.zst", headers=AUTH).headers
    assert (receiver.data_dir / "index.jsonl").read_bytes() == index
    assert receiver.put("h", "e1", episode(1, bad), X_Cis490_Code_Commit=bad).status == 200
    # Commands leave them out too.
    exported = run(receiver.data_dir, "export", "--format", "jsonl").splitlines()
    assert {json.loads(line)["episode_id"] for line in exported} == {"e0", "e2"}
    assert json.loads(run(receiver.data_dir, "verify", "--json"))["checked"] == 4
    run(receiver.data_dir, "withdraw", "h/e3", "--undo")
    assert listed(receiver) == ["e0", "e2", "e3"]
    lines = [json.loads(line) for line in (receiver.data_dir / "withdrawn.jsonl").read_text().splitlines()]
    assert [(line["episode_id"], line["withdrawn"]) for line in lines[-1:]] == [("e3", False)]
    assert set(lines[0]) == {"at_wall", "at_ns", "host_id", "episode_id", "withdrawn", "why", "by"}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("h/e1",),
        ("h/../e1", "--why", "x"),
        ("--commit", "short", "--why", "x"),
        ("h/e", "--host", "h", "--why", "x"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(receiver: Receiver, arguments: tuple[str, ...]) -> None:
    assert (
        json.loads(run(receiver.data_dir, "withdraw", "--json", *arguments, status=2))["code"] == "bad-usage"
    )


def test_a_name_that_is_not_there_changes_nothing(receiver: Receiver) -> None:
    receiver.put("h", "e0", make_episode(0))
    run(receiver.data_dir, "withdraw", "h/e0", "h/none", "--why", "x", status=1)
    assert not (receiver.data_dir / "withdrawn.jsonl").exists() and listed(receiver) == ["e0"]


def made(tmp_path: Path, episodes: int) -> tuple[LocalIndex, WithdrawalFile]:
    index = LocalIndex(tmp_path)
    index.prepare()
    with index.journal.path.open("ab") as journal:
        journal.writelines(record(number).to_line() for number in range(episodes))
    return index, WithdrawalFile(tmp_path)


def said(numbers: range, *, withdrawn: bool = True) -> list[Withdrawal]:
    return [Withdrawal("2026-01-01T00:00:00Z", 1, "h", f"e{n}", withdrawn, "why", "me") for n in numbers]


def test_a_hundred_thousand_are_withdrawn_in_one_step(tmp_path: Path) -> None:
    index, withdrawals = made(tmp_path, 100_000)
    assert index.count(Filters()) == 100_000
    started = time.monotonic()
    withdrawals.append(said(range(100, 100_000)))
    assert index.count(Filters()) == 100
    assert time.monotonic() - started < 20
    [total] = index.totals(Filters(), ["host_id"], limit=10)
    assert (total.episodes, total.size_bytes) == (100, 100)
    [total] = index.totals(Filters(withdrawn="only"), ["host_id"], limit=10)
    assert total.episodes == 99_900
    assert len(index.page(Filters(), limit=1000, cursor=None).episodes) == 100
    withdrawals.append(said(range(100, 200), withdrawn=False))
    assert index.count(Filters()) == 200
    index.close()


@pytest.mark.parametrize("step", ["os.fsync", "os.rename", "os.open", "os.write"])
def test_a_step_that_fails_withdraws_none(tmp_path: Path, step: str) -> None:
    index, withdrawals = made(tmp_path, 10)
    withdrawals.append(said(range(1)))
    before = withdrawals.path.read_bytes()
    calls = 0
    real = getattr(os, step.removeprefix("os."))
    # Every call of it in turn.
    for number in range(1, 10):
        calls = 0

        def failing(*arguments: object, number: int = number, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number:
                raise OSError(5, "injected")
            return real(*arguments, **more)

        with mock.patch(step, failing):
            try:
                withdrawals.append(said(range(1, 5)))
            except StorageFailed:
                # Also after the rename: what was there has the name again.
                assert withdrawals.path.read_bytes() == before
                continue
        break
    else:
        raise AssertionError("the step never succeeded")
    assert index.count(Filters()) == 5
    index.close()


def test_a_torn_line_is_nothing_and_is_cut(tmp_path: Path) -> None:
    index, withdrawals = made(tmp_path, 3)
    withdrawals.append(said(range(1)))
    with withdrawals.path.open("ab") as stream:
        stream.write(said(range(1, 2))[0].to_line()[:-5])
    assert index.count(Filters()) == 2
    withdrawals.append(said(range(2, 3)))
    assert [item.episode_id for item in withdrawals.items()] == ["e0", "e2"]
    assert index.count(Filters()) == 1
    index.close()


def of_hosts(index: LocalIndex) -> dict[str, int]:
    return {host.host_id: host.withdrawn for host in index.hosts()}


def test_each_hosts_withdrawn_are_counted_whatever_comes_first(tmp_path: Path) -> None:
    index, withdrawals = made(tmp_path, 3)
    assert of_hosts(index) == {"h": 0}
    withdrawals.append(said(range(1, 5)))
    assert of_hosts(index) == of_hosts(index) == {"h": 2}
    for number in (3, 4, 5):
        index.append(record(number))
    assert of_hosts(index) == {"h": 4}
    withdrawals.append(said(range(3, 9), withdrawn=False))
    assert of_hosts(index) == {"h": 2}
    lines = index.journal.path.read_bytes().splitlines(keepends=True)
    index.journal.path.unlink()
    index.journal.path.write_bytes(b"".join(lines[2:]))
    assert of_hosts(index) == {"h": 1}
    index.close()


def test_pages_show_how_many_are_withdrawn_as_the_api_does(receiver: Receiver) -> None:
    for host, number in (("h0", 0), ("h0", 1), ("h0", 2), ("h1", 3)):
        assert receiver.put(host, f"e{number}", make_episode(number)).status == 201

    def page(path: str) -> str:
        return receiver.request("GET", path, headers=AUTH | {"Accept": "text/html"}).body.decode()

    def told(path: str) -> Any:
        return receiver.request("GET", path, headers=AUTH).json

    link = "/data?host=h0&amp;withdrawn=only"
    assert all("withdrawn=only" not in page(path) for path in ("/", "/data", "/hosts/h0"))
    run(receiver.data_dir, "withdraw", "h0/e1", "h0/e2", "--why", "spoilt")
    for path in ("/v1/hosts", "/"):
        assert {host["host_id"]: host["withdrawn"] for host in told(path)["hosts"]} == {"h0": 2, "h1": 0}
    [total] = told("/v1/totals?withdrawn=only&by=host_id")["totals"]
    assert (total["host_id"], total["episodes"]) == ("h0", 2)
    story = told("/hosts/h0")
    assert story["withdrawn"] == told("/data")["withdrawn"] == 2
    # They came all the same.
    assert sum(day["episodes"] for day in story["arrivals_by_day"]) == story["episodes"] == 3
    fleet = page("/")
    assert f'<a href="{link}">2 withdrawn</a>' in fleet and fleet.count("withdrawn</a>") == 2
    assert '<a href="/data?withdrawn=only">2 withdrawn</a> of 4' in fleet
    assert f'<a href="{link}">2 withdrawn</a>' in page("/hosts/h0")
    data = page("/data")
    assert f'href="{link}">+ 2 withdrawn</a>' in data and data.count("withdrawn</a>") == 1
    assert '<a href="/data?withdrawn=only">2</a>' in data
    # The link leads to these, and nothing is counted twice there.
    shown = page(html.unescape(link))
    assert set(re.findall(r'href="/data/h0/(e\d)"', shown)) == {"e1", "e2"} and "+ 2 withdrawn" not in shown
    assert 'href="/data?host=h0&amp;withdrawn=only">+ 2' in page("/data?host=h0")
    run(receiver.data_dir, "withdraw", "h0/e1", "h0/e2", "--undo")
    assert all("withdrawn=only" not in page(path) for path in ("/", "/data", "/hosts/h0"))

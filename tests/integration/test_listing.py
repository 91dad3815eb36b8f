"""Pages, the index by byte offset, hosts and metrics, while episodes arrive."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Answer, Receiver

COMMITS = ["a" * 40, "b" * 40]


@pytest.fixture(autouse=True, scope="module")
def twelve(shared_receiver: Receiver) -> None:
    for number in range(12):
        answer = shared_receiver.put(
            f"h{number % 3}",
            f"e{number:02}",
            make_episode(number),
            X_Cis490_Code_Commit=COMMITS[number % 2],
            X_Episode_Type="infected" if number % 4 == 0 else "control",
            X_Benign_Profile="idle" if number % 4 else "db_query",
        )
        assert answer.status == 201


def get(receiver: Receiver, path: str, **headers: str) -> Answer:
    return receiver.request("GET", path, headers=AUTH | headers)


def ids(answer: Answer) -> list[str]:
    return [episode["episode_id"] for episode in answer.json["episodes"]]


def test_a_page_is_the_newest_first_and_its_records_are_the_indexs(shared_receiver: Receiver) -> None:
    page = get(shared_receiver, "/v1/episodes").json
    assert page["next"] is None
    assert page["episodes"] == shared_receiver.index()[::-1]
    assert get(shared_receiver, "/v1/episodes?limit=3").json["episodes"] == page["episodes"][:3]
    assert shared_receiver.request("GET", "/v1/episodes").status == 401


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("host=h1", lambda e: e["host_id"] == "h1"),
        ("episode_type=infected", lambda e: e["episode_type"] == "infected"),
        ("benign_profile=db_query", lambda e: e["benign_profile"] == "db_query"),
        (f"commit={'A' * 40}", lambda e: e["code_commit"] == "a" * 40),
        (
            "host=h1&episode_type=control&limit=2",
            lambda e: e["host_id"] == "h1" and e["episode_type"] == "control",
        ),
        ("host=nobody", lambda e: False),
        ("since=2001-01-01", lambda e: True),
        ("until=2001-01-01T00:00:00Z", lambda e: False),
        ("since=2099-01-01T00:00:00+02:00", lambda e: False),
    ],
)
def test_filters_and_cursors_walk_through_exactly_what_matches(
    shared_receiver: Receiver, query: str, matches: Any
) -> None:
    expected = [line for line in shared_receiver.index()[::-1] if matches(line)]
    found, cursor = [], ""
    while True:
        page = get(
            shared_receiver, f"/v1/episodes?{query}{'' if 'limit' in query else '&limit=5'}{cursor}"
        ).json
        found += page["episodes"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == expected


def test_since_and_until_are_the_first_included_and_the_last_excluded(shared_receiver: Receiver) -> None:
    import datetime as dt

    lines = shared_receiver.index()
    moment = dt.datetime.fromtimestamp(lines[5]["received_at_ns"] // 1000 / 1e6, tz=dt.UTC)
    text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    after = {e["episode_id"] for e in get(shared_receiver, f"/v1/episodes?since={text}").json["episodes"]}
    before = {e["episode_id"] for e in get(shared_receiver, f"/v1/episodes?until={text}").json["episodes"]}
    assert after | before == {line["episode_id"] for line in lines} and not after & before
    assert "e05" in after and "e04" in before


def test_a_walk_is_stable_while_episodes_arrive(receiver: Receiver) -> None:
    for number in range(20):
        receiver.put("old", f"e{number}", make_episode(number))
    done = threading.Event()

    def ship() -> None:
        number = 0
        while not done.is_set():
            receiver.put("new", f"n{number}", make_episode(number))
            number += 1

    thread = threading.Thread(target=ship)
    thread.start()
    try:
        found, cursor = [], ""
        while True:
            page = get(receiver, f"/v1/episodes?limit=2{cursor}").json
            found += [episode["episode_id"] for episode in page["episodes"] if episode["host_id"] == "old"]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
    finally:
        done.set()
        thread.join()
    assert found == [f"e{number}" for number in reversed(range(20))]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=ten", "limit=-1", "cursor=nonsense", "cursor=W10", "cursor=", "since=yesterday",
     "until=2026-13-01", "since=9999999-01-01", "host=..", "commit=abc", "episode_type=odd", "benign_profile=odd",
     "hots=h1", "host=h1&host=h2", "cursor=WzEsImgiLCIuLiJd"],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(shared_receiver: Receiver, query: str) -> None:
    answer = get(shared_receiver, f"/v1/episodes?{query}")
    assert (answer.status, answer.json["code"]) == (400, "bad-request")


def test_a_trainer_follows_the_index_by_byte_offset(receiver: Receiver) -> None:
    receiver.put("h", "e0", make_episode(0))
    whole = get(receiver, "/v1/index.jsonl")
    assert whole.status == 200 and whole.headers["Content-Type"] == "application/jsonl"
    assert whole.body == (receiver.data_dir / "index.jsonl").read_bytes()
    offset = len(whole.body)
    assert get(receiver, "/v1/index.jsonl", Range=f"bytes={offset}-").status == 416
    assert get(receiver, "/v1/index.jsonl", **{"If-None-Match": whole.headers["ETag"]}).status == 304
    receiver.put("h", "e1", make_episode(1))
    with (receiver.data_dir / "index.jsonl").open("ab") as journal:
        journal.write(b'{"host_id": "torn')
    rest = get(receiver, "/v1/index.jsonl", Range=f"bytes={offset}-")
    assert rest.status == 206
    assert [json.loads(line)["episode_id"] for line in rest.body.splitlines()] == ["e1"]
    assert rest.headers["ETag"] != whole.headers["ETag"]


def test_hosts_are_summed_up(shared_receiver: Receiver) -> None:
    hosts = get(shared_receiver, "/v1/hosts").json["hosts"]
    assert [(host["host_id"], host["episodes"]) for host in hosts] == [("h0", 4), ("h1", 4), ("h2", 4)]
    lines = [line for line in shared_receiver.index() if line["host_id"] == "h1"]
    assert hosts[1]["size_bytes"] == sum(line["size_bytes"] for line in lines)
    assert hosts[1]["last_code_commit"] == lines[-1]["code_commit"]
    assert hosts[1]["last_received_at_wall"] == lines[-1]["received_at_wall"]


def test_metrics_need_the_token_unless_opened(shared_receiver: Receiver, start_receiver: Any) -> None:
    assert shared_receiver.request("GET", "/metrics").status == 401
    answer = get(shared_receiver, "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'cis490_episodes{host="h1"} 4.0' in answer.body.decode().splitlines()
    opened: Receiver = start_receiver(metrics_public="true")
    assert opened.request("GET", "/metrics").status == 200


def test_totals_by_what_is_asked_for(shared_receiver: Receiver) -> None:
    answer = get(shared_receiver, "/v1/totals?by=episode_type,benign_profile&host=h0")
    records = [record for record in shared_receiver.index() if record["host_id"] == "h0"]
    infected = [record for record in records if record["episode_type"] == "infected"]
    assert answer.status == 200 and answer.json["by"] == ["episode_type", "benign_profile"]
    assert answer.json["totals"][-1] == {
        "episode_type": "infected",
        "benign_profile": "db_query",
        "episodes": len(infected),
        "size_bytes": sum(record["size_bytes"] for record in infected),
    }
    whole = get(shared_receiver, "/v1/totals").json["totals"]
    assert [total["episodes"] for total in whole] == [len(shared_receiver.index())]
    days = get(shared_receiver, "/v1/totals?by=day").json["totals"]
    assert {total["day"] for total in days} == {r["received_at_wall"][:10] for r in shared_receiver.index()}
    assert get(shared_receiver, "/v1/totals?host=nobody").json["totals"] == []
    assert shared_receiver.request("GET", "/v1/totals").status == 401
    for query in ("by=sha256", "by=day,day", "limit=3", "by=day&by=day", "since=x"):
        answer = get(shared_receiver, f"/v1/totals?{query}")
        assert (answer.status, answer.json["code"]) == (400, "bad-request"), query

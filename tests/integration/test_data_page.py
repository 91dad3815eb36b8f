"""The data page shows the make-up of what is stored, takes filters, and leads to what is in an episode."""

from __future__ import annotations

import contextlib
import html
import os
import re
from pathlib import Path

import pytest

from benchmarks import make_index
from tests.support.archives import Archive, make_episode, pack
from tests.support.receiver import AUTH, Answer, Receiver, running


@pytest.fixture(autouse=True, scope="module")
def stored(shared_receiver: Receiver) -> None:
    for number in range(60):
        answer = shared_receiver.put(
            f"h{number % 3}",
            f"e{number:02}",
            make_episode(number),
            **({"X_Episode_Type": "infected" if number % 4 == 0 else "control"} if number % 10 else {}),
            X_Benign_Profile="idle" if number % 5 else "db_query",
        )
        assert answer.status == 201


def get(receiver: Receiver, path: str) -> Answer:
    return receiver.request("GET", path, headers=AUTH | {"Accept": "text/html"})


def text(answer: Answer) -> str:
    """What a reader sees, roughly."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.body.decode())))


def test_it_shows_the_balance_of_what_is_chosen(shared_receiver: Receiver) -> None:
    answer = get(shared_receiver, "/data")
    assert answer.status == 200
    assert "42 control to 12 infected: 3.5 times as many." in text(answer)
    assert "6 episodes say no type (10.0%)." in text(answer)
    assert "No episode of profile admin_session" in text(answer)
    # Empty fields, as a form sends them, choose nothing.
    answer = get(shared_receiver, "/data?host=h1&episode_type=infected&benign_profile=&since=&until=&commit=")
    rows = [row for row in shared_receiver.index() if row["host_id"] == "h1"]
    infected = [row["episode_id"] for row in rows if row["episode_type"] == "infected"]
    assert re.findall(r"/data/h1/(e\d+)", answer.body.decode()) == infected[::-1]
    assert f"Episodes {len(infected)} Size" in text(answer)
    assert "<option selected>infected</option>" in answer.body.decode()
    assert "No episode is like that." in text(get(shared_receiver, "/data?host=nobody"))


def test_recent_episodes_are_paged_and_keep_the_filters(shared_receiver: Receiver) -> None:
    seen: list[str] = []
    path: str | None = "/data?benign_profile=idle"
    while path:
        page = get(shared_receiver, path).body.decode()
        seen += re.findall(r'href="/data/h\d/(e\d+)"', page)
        following = re.search(r'href="(/data\?[^"]+)#recent">Earlier episodes<', page)
        path = html.unescape(following[1]) if following else None
    wanted = [row["episode_id"] for row in shared_receiver.index() if row["benign_profile"] == "idle"]
    assert seen == wanted[::-1]


@pytest.mark.parametrize("query", ["host=a%20b", "since=yesterday", "colour=red", "cursor=x"])
def test_a_bad_filter_is_said_on_the_page(shared_receiver: Receiver, query: str) -> None:
    answer = get(shared_receiver, f"/data?{query}")
    assert answer.status == 400 and 'role="alert"' in answer.body.decode()


def test_an_episodes_page_shows_what_is_in_it_and_runs_nothing(shared_receiver: Receiver) -> None:
    evil = "<script>alert(1)</script>"
    data = pack({"meta.json": b'{"note": "<script>alert(2)</script>"}', evil: b"x"})
    assert shared_receiver.put("odd", "evil", Archive(data)).status == 201
    answer = get(shared_receiver, "/data/odd/evil")
    assert answer.status == 200 and "<script>" not in answer.body.decode()
    assert evil in html.unescape(answer.body.decode())
    assert "'none'" in answer.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]
    assert "style=" not in answer.body.decode()
    assert shared_receiver.put("odd", "text", Archive(b"no archive")).status == 201
    assert "The archive cannot be read" in text(get(shared_receiver, "/data/odd/text"))
    assert get(shared_receiver, "/data/odd/absent").status == 404
    for path in ("/data", "/data/odd/evil"):
        assert shared_receiver.request("GET", path).status == 401


@pytest.mark.slow
def test_many_episodes_of_200_hosts_make_small_pages_at_once(tmp_path: Path) -> None:
    make_index.make(tmp_path / "data", 200_000)
    with running(tmp_path, workers=1) as receiver, contextlib.closing(receiver.connect(300)) as connection:

        def ask(path: str) -> bytes:
            connection.request("GET", path, headers=AUTH | {"Accept": "text/html"})
            return connection.getresponse().read()

        # The first one makes the catalog.
        assert "200\u2009000".encode() in ask("/data")
        (worker,) = receiver.worker_pids()
        for path in ("/data", "/"):
            assert len(ask(path)) < 100_000
            before = processor_seconds(worker)
            for _ in range(20):
                ask(path)
            assert (processor_seconds(worker) - before) / 20 < 0.1, path


def processor_seconds(pid: int) -> float:
    """What a process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""The pages as HTTP: who gets in, who gets what, and what it costs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.test_data_page import processor_seconds
from tests.support import fleet
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, TOKEN, Answer, Receiver, clean_environment

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
JSON = {"Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def post(receiver: Receiver, path: str, headers: dict[str, str] | None = None, **form: str) -> Answer:
    return receiver.request("POST", path, urlencode(form), HTML | FORM | (headers or {}))


def cookie_of(answer: Answer) -> dict[str, str]:
    return {"Cookie": str(answer.headers["Set-Cookie"]).partition(";")[0]}


def sign_in(receiver: Receiver, token: str = TOKEN) -> dict[str, str]:
    answer = post(receiver, "/sign-in", token=token)
    assert answer.status == 303, answer.body
    return cookie_of(answer)


def form_token(receiver: Receiver, path: str, cookie: dict[str, str]) -> str:
    found = re.search(
        rb'name="form_token" value="(\w+)"', receiver.request("GET", path, headers=HTML | cookie).body
    )
    assert found
    return found[1].decode()


def command(receiver: Receiver, *words: str) -> str:
    done = subprocess.run(
        [str(BIN / "cis490-receiver"), *words], env=clean_environment(**receiver.settings),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


PAGES = ("/", "/alerts", "/hosts/lab-001")


@pytest.mark.parametrize("path", PAGES)
def test_a_program_gets_json_and_a_browser_a_page(watched: Receiver, path: str) -> None:
    for headers in (JSON, {}, {"Accept": "*/*"}, {"Accept": "text/html;q=0.1, application/json"}):
        answer = watched.request("GET", path, headers=AUTH | headers)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert isinstance(answer.json, dict)
        refused = watched.request("GET", path, headers=headers)
        assert refused.status == 401 and refused.json["code"] == "missing-bearer-token"
    page = watched.request("GET", path, headers=AUTH | HTML)
    assert page.status == 200 and page.body.startswith(b"<!doctype html>")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(rb"<script(?! type=\"module\" src=)|<style|style=|\son\w+=", page.body)
    away = watched.request("GET", path, headers=HTML)
    assert (away.status, away.headers["Location"]) == (303, f"/sign-in?{urlencode({'next': path})}")


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1/nothing", "/hosts/nobody", "/hosts/..", "/?sort=no", "/v1/alerts?x=1"]
)
def test_an_error_is_a_page_for_a_browser_and_json_for_a_program(watched: Receiver, path: str) -> None:
    page = watched.request("GET", path, headers=AUTH | HTML)
    program = watched.request("GET", path, headers=AUTH | JSON)
    assert page.status == program.status >= 400
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert program.json["code"].encode() in page.body


def test_what_a_page_shows_is_in_its_json(watched: Receiver, members: dict[str, str]) -> None:
    shown = watched.request("GET", "/", headers=AUTH | JSON).json
    hosts = {host["host_id"]: host for host in shown["hosts"]}
    assert hosts[members[fleet.REFUSED]]["health"] == "fatal-only"
    assert hosts[members[fleet.REFUSED]]["refusals"] == {"commit-rejected": 22}
    assert hosts[members[fleet.AGING]]["commits_behind"] == 48
    assert sum(hosts[members[fleet.SILENT]]["arrivals_by_hour"]) > 0
    assert shown["receiver"]["gate_head"] == fleet.commit_id(0)
    story = watched.request("GET", f"/hosts/{members[fleet.FAILING]}", headers=AUTH | JSON).json
    assert story["doctor_changes"][0]["failed"] == ["disk"]
    assert sum(day["episodes"] for day in story["arrivals_by_day"]) == story["episodes"]


def test_200_hosts_are_small_and_quick(watched: Receiver) -> None:
    workers = watched.worker_pids()
    before = sum(map(processor_seconds, workers))
    for _ in range(20):
        page = watched.request("GET", "/", headers=AUTH | HTML)
    seconds = (sum(map(processor_seconds, workers)) - before) / 20
    assert page.body.count(b"<tr ") == 200
    assert len(page.body) < 100_000
    assert seconds < 0.1


def test_symptoms_are_those_of_the_health_check(watched: Receiver, tmp_path: Path) -> None:
    def files() -> list[tuple[str, int]]:
        kept = (path for path in watched.data_dir.iterdir() if "catalog" not in path.name)
        return sorted((path.name, path.stat().st_mtime_ns) for path in kept)

    def of_hosts(found: dict[str, Any]) -> list[tuple[str, str]]:
        # Not the receiver's own: the command looks by chance at old episodes, whose files this fleet lacks.
        return sorted((item["host_id"], item["symptom"]) for item in found["symptoms"] if item["host_id"])

    before = files()
    told = watched.request("GET", "/v1/symptoms", headers=AUTH).json
    assert before == files()
    environment = clean_environment(**watched.settings, syslog_address=str(tmp_path / "none"))
    done = subprocess.run(
        [str(BIN / "cis490-receiver"), "health-check", "--json"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    checked = json.loads(done.stdout)
    assert of_hosts(told) == of_hosts(checked) != []
    assert told["hosts_by_state"] == checked["hosts_by_state"]
    assert told.keys() | {"new_alerts"} == checked.keys()


def test_alerts_come_newest_first_page_by_page(watched: Receiver) -> None:
    whole = watched.request("GET", "/v1/alerts?limit=1000", headers=AUTH).json
    assert whole["next"] is None and len(whole["alerts"]) > 20
    times = [alert["at_ns"] for alert in whole["alerts"]]
    assert times == sorted(times, reverse=True)
    found, cursor = [], ""
    while cursor is not None:
        page = watched.request(
            "GET", f"/v1/alerts?limit=7{cursor and '&cursor=' + cursor}", headers=AUTH
        ).json
        found += page["alerts"]
        assert page["next"] != cursor
        cursor = page["next"]
    assert found == whole["alerts"]
    assert watched.request("GET", "/v1/alerts?cursor=abc", headers=AUTH).status == 400
    assert watched.request("GET", "/v1/alerts?limit=1001", headers=AUTH).status == 400


def test_a_session_opens_what_may_be_read_and_changes_nothing_by_itself(receiver: Receiver) -> None:
    archive = make_episode(1)
    assert receiver.put("lab-1", "e", archive).status == 201
    cookie = sign_in(receiver)
    assert receiver.request("GET", "/v1/episodes/lab-1/e.tar.zst", headers=cookie).body == archive.data
    assert receiver.request("PUT", "/v1/host-health/lab-1", b"{}", cookie).status == 401
    assert receiver.request("POST", "/v1/ping", headers=cookie).status == 401
    token = form_token(receiver, "/hosts/lab-1", cookie)
    given = {"until": "3d", "why": "away"}
    for headers, form in (
        (cookie, given),
        (cookie, given | {"form_token": "0" * 32}),
        (cookie | {"Origin": "http://elsewhere.example"}, given | {"form_token": token}),
        (cookie | {"Sec-Fetch-Site": "cross-site"}, given | {"form_token": token}),
    ):
        assert post(receiver, "/hosts/lab-1/mute", headers, **form).status == 403
    assert not (receiver.data_dir / "mutes.json").exists()
    assert post(receiver, "/hosts/lab-1/mute", {}, **given, form_token=token).status == 401
    assert post(receiver, "/hosts/lab-1/mute", cookie, **given, form_token=token).status == 303
    shown = receiver.request("GET", "/hosts/lab-1", headers=AUTH).json
    assert (shown["health"], shown["muted_why"]) == ("muted", "away")
    assert post(receiver, "/hosts/lab-1/retire", cookie, why="sold", form_token=token).status == 303
    assert receiver.request("GET", "/hosts/lab-1", headers=AUTH).json["health"] == "retired"


def test_a_session_is_kept_safe_and_lasts_through_a_restart(receiver: Receiver) -> None:
    answer = post(receiver, "/sign-in", {"X-Forwarded-Proto": "https"}, token=TOKEN)
    given = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=43200"} <= {*given.split("; ")}
    assert TOKEN not in given
    assert (receiver.data_dir / "session.key").stat().st_mode & 0o777 == 0o600
    cookie = cookie_of(answer)
    receiver.stop()
    receiver.start()
    assert all(receiver.request("GET", "/", headers=HTML | cookie).status == 200 for _ in range(4))
    name, _, value = cookie["Cookie"].partition("=")
    for forged in (value[:-2], value[::-1], "", "." * 50, "é", value + "x", "W10." + value):
        headers = HTML | {"Cookie": f"{name}={forged}".encode().decode("latin-1")}
        assert receiver.request("GET", "/", headers=headers).status == 303


def test_a_revoked_token_ends_its_sessions(start_receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    receiver = start_receiver(tokens_file=tmp_path / "tokens.toml")
    token, link = command(receiver, "token", "add", "alice", "--read").split("\n")[:2]
    cookie = sign_in(receiver, token)
    assert receiver.request("GET", "/", headers=HTML | cookie).status == 200
    assert b"Mute or retire" not in receiver.request("GET", "/", headers=HTML | cookie).body
    by_link = link.partition("code=")[2]
    code_page = receiver.request("GET", f"/sign-in?code={by_link}", headers=HTML).body
    assert b"alice" in code_page and token.encode() not in code_page
    statuses = [post(receiver, "/sign-in", code=by_link).status for _ in range(2)]
    assert statuses == [303, 401]
    assert by_link not in (receiver.data_dir / "sign-in-codes.json").read_text()
    command(receiver, "token", "revoke", "alice")
    deadline = time.monotonic() + 5
    while receiver.request("GET", "/", headers=HTML | cookie).status == 200:
        assert time.monotonic() < deadline
    # One who was made anew under the same name is somebody else.
    anew = command(receiver, "token", "add", "alice", "--read").split("\n")[0]
    while receiver.request("GET", "/", headers={"Authorization": f"Bearer {anew}"}).status != 200:
        assert time.monotonic() < deadline + 5
    assert receiver.request("GET", "/", headers=HTML | cookie).status == 303


def test_failed_tries_slow_down_their_client_alone(start_receiver: Callable[..., Receiver]) -> None:
    receiver = start_receiver(workers=1, trusted_proxies="127.0.0.1")
    guesser, other = {"X-Forwarded-For": "1.2.3.4, 203.0.113.9"}, {"X-Forwarded-For": "203.0.113.8"}
    statuses = [post(receiver, "/sign-in", guesser, token=f"guess-{n}").status for n in range(8)]
    assert statuses[:5] == [401] * 5 and set(statuses[5:]) == {429}
    held = post(receiver, "/sign-in", guesser, token=TOKEN)
    assert held.status == 429 and held.headers["Retry-After"] == "10"
    assert post(receiver, "/sign-in", other, token=TOKEN).status == 303


def test_without_a_token_pages_are_open_and_forms_come_from_pages(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "data", tmp_path / "receiver.log", workers=1)
    del receiver.settings["bearer_token"]
    try:
        receiver.start()
        assert receiver.put("lab-1", "e", make_episode(1)).status == 201
        assert receiver.request("GET", "/", headers=HTML).status == 200
        assert (
            receiver.request("GET", "/sign-in?next=//evil.example", headers=HTML).headers["Location"] == "/"
        )
        assert not (receiver.data_dir / "session.key").exists()
        assert post(receiver, "/hosts/lab-1/retire", why="sold").status == 403
        token = form_token(receiver, "/hosts/lab-1", {})
        assert post(receiver, "/hosts/lab-1/retire", why="sold", form_token=token).status == 303
    finally:
        receiver.end()


@pytest.mark.parametrize(
    "following",
    ["//evil.example/", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil"],
)
def test_signing_in_leads_to_no_other_site(watched: Receiver, following: str) -> None:
    answer = post(watched, "/sign-in", token=TOKEN, next=following)
    assert (answer.status, answer.headers["Location"]) == (303, "/")


def test_the_files_of_the_pages_are_kept_for_good(watched: Receiver) -> None:
    page = watched.request("GET", "/sign-in", headers=HTML).body.decode()
    addresses = re.findall(r'"(/static/[^"]+)"', page)
    assert len({address.rpartition(".")[2] for address in addresses}) == 3
    for address in addresses:
        answer = watched.request("GET", address)
        assert "immutable" in answer.headers["Cache-Control"]
        again = watched.request("GET", address, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
    assert watched.request("GET", "/static/pages.0000000000000000.css").status == 404

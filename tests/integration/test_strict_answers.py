"""Whatever a client sends: each answer in JSON is one that a strict parser reads."""

from __future__ import annotations

import itertools
import re
import subprocess

import orjson
import pytest

from tests.conftest import need
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver, put_headers

# As they stand in a URL: half of a surrogate pair in UTF-8's manner, its two halves, NUL, a byte that is no UTF-8.
ODD = (
    "%ed%a0%80",
    "%ed%a0%bd%ed%b8%80",
    "%00",
    "%ff",
    "%f0%9f%98%80",
    "%5cud800",
    "NaN",
    "9" * 400,
    "1e999",
    "%22",
)
ODD_HEADERS = ("\xff", "\xed\xa0\x80", "\\ud800", "NaN", "9" * 400, '"', "a\tb")
HEADERS = (
    "X-Lab-Host", "X-Content-SHA256", "X-Schema-Version", "X-Cis490-Code-Commit", "X-Episode-Type",
    "X-Benign-Profile", "X-Client-Subject", "Range", "If-Match", "Content-Length",
)  # fmt: skip
#: Every query parameter that any route knows.
PARAMETERS = (
    "host",
    "since",
    "until",
    "episode_type",
    "benign_profile",
    "commit",
    "limit",
    "cursor",
    "unknown",
)


def test_every_answer_is_read_by_a_strict_parser(shared_receiver: Receiver) -> None:
    episode = make_episode(1)
    shared_receiver.put("strict", "e", episode)
    asked: list[tuple[str, str, dict[str, str]]] = []
    for odd in ODD:
        for path in (
            "episodes/{}",
            "episodes/{}/e.tar.zst",
            "episodes/h/{}.tar.zst",
            "host-health/{}",
            "{}",
            "hosts/{}",
        ):
            asked += [(method, f"/v1/{path.format(odd)}", {}) for method in ("GET", "PUT", "POST", "PATCH")]
        asked += [("GET", f"/v1/episodes?{name}={odd}", {}) for name in PARAMETERS]
        asked += [("GET", f"/v1/episodes?{odd}={odd}", {}), ("GET", f"/v1/{odd}?{odd}", {})]
    for name, odd in itertools.product(HEADERS, ODD_HEADERS):
        asked += [
            ("PUT", "/v1/episodes/strict/e.tar.zst", {name: odd}),
            ("GET", "/v1/index.jsonl", {name: odd}),
        ]
        if name != "Content-Length":
            asked.append(("POST", "/v1/ping", {name: odd}))
    statuses = set()
    for method, path, headers in asked:
        body = episode.data if method == "PUT" else None
        answer = shared_receiver.request(method, path, body, put_headers(episode) | headers)
        statuses.add(answer.status)
        if answer.headers["Content-Type"] == "application/json":
            assert orjson.loads(answer.body) == answer.json, (method, path, headers)
    assert {200, 400, 404, 405} <= statuses and not any(status >= 500 for status in statuses)
    assert "internal-error" not in shared_receiver.log_text()


@pytest.mark.parametrize(
    "path", ["/v1/host-health", "/v1/host-health/told", "/v1/episodes", "/v1/hosts", "/v1/ready"]
)
def test_the_listings_are_read_by_jq(shared_receiver: Receiver, path: str) -> None:
    shared_receiver.put("told", "e", make_episode(1))
    report = rb'{"n": [18446744073709551615, -9223372036854775808, 1e308, -0.0], "t": "\ud83d\ude00\u0000"}'
    assert shared_receiver.request("PUT", "/v1/host-health/told", report, AUTH).status == 200
    answer = shared_receiver.request("GET", path, headers=AUTH)
    done = subprocess.run([need("jq"), "-e", "."], input=answer.body, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match(rb"\s*\{", done.stdout)

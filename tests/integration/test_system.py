"""Health, readiness, ping."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver


def tree(receiver: Receiver) -> set[tuple[str, int]]:
    return {(str(p.relative_to(receiver.data_dir)), p.stat().st_size) for p in receiver.data_dir.rglob("*")}


def test_health_looks_at_nothing_else(receiver: Receiver) -> None:
    shutil.rmtree(receiver.data_dir)
    answer = receiver.request("GET", "/v1/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    ready = receiver.request("GET", "/v1/ready")
    assert ready.status == 503 and ready.json["reasons"] == ["storage-failed"]
    assert int(ready.headers["Retry-After"]) > 0


def test_ready_when_an_episode_could_be_taken(shared_receiver: Receiver) -> None:
    answer = shared_receiver.request("GET", "/v1/ready")
    assert (answer.status, answer.json["status"]) == (200, "ready")


def test_ping_echoes_and_writes_nothing(shared_receiver: Receiver) -> None:
    assert shared_receiver.request("POST", "/v1/ping").status == 401
    before = tree(shared_receiver)
    answer = shared_receiver.request("POST", "/v1/ping", headers=AUTH | {"X-Lab-Host": "lab-7"})
    assert answer.status == 200
    assert answer.json.keys() == {"ok", "host_id", "t_wall_ns", "schema_version"}
    assert answer.json["ok"] is True
    assert (answer.json["host_id"], answer.json["schema_version"]) == ("lab-7", 2)
    assert isinstance(answer.json["t_wall_ns"], int)
    assert shared_receiver.request("POST", "/v1/ping", b"x" * 100, AUTH).json["host_id"] is None
    assert tree(shared_receiver) == before


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Cis490-Code-Commit": "a" * 40}, None),
        ({"X-Schema-Version": "two"}, "bad-schema-version"),
        ({"X-Content-SHA256": "a" * 64}, None),
        ({"X-Content-SHA256": "a"}, "bad-sha256-header"),
    ],
)
def test_a_ping_with_a_puts_headers_tells_what_the_put_would_be_told(
    shared_receiver: Receiver, headers: dict[str, str], code: str | None
) -> None:
    before = tree(shared_receiver)
    answer = shared_receiver.request("POST", "/v1/ping", headers=AUTH | headers).json
    assert answer["would_accept"] is (code is None)
    assert answer.get("code") == code
    assert ("error" in answer) is (code is not None)
    assert tree(shared_receiver) == before


def test_a_unix_socket_serves_without_a_token(start_receiver: Any, tmp_path: Any) -> None:
    receiver: Receiver = start_receiver(bind=f"unix:{tmp_path}/http.sock")
    assert receiver.put("h", "e", make_episode(1)).status == 201


def test_a_ping_as_a_host_that_cannot_be_is_told_so(receiver: Receiver) -> None:
    headers = AUTH | {"X-Lab-Host": "../../x", "X-Content-SHA256": "0" * 64}
    answer = receiver.request("POST", "/v1/ping", headers=headers)
    assert answer.status == 200 and answer.json["would_accept"] is False
    assert answer.json["code"] == "bad-episode-name"


def test_options_is_answered_in_json(receiver: Receiver) -> None:
    answer = receiver.request("OPTIONS", "/v1/health")
    assert answer.status == 405 and answer.json["code"] == "method-not-allowed"
    assert "GET" in answer.headers["Allow"]


def test_what_is_told_of_an_episode_is_not_for_put(shared_receiver: Receiver) -> None:
    answer = shared_receiver.request("PUT", "/v1/episodes/lab-1/e/contents", b"x", AUTH)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    answer = shared_receiver.request("PUT", "/v1/episodes/lab-1/e/content", b"x", AUTH)
    assert (answer.status, answer.json["code"]) == (400, "bad-suffix")

"""Tokens of single hosts, on the real server and by the real command."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, Answer, Receiver, clean_environment

EPISODE = make_episode(1)
PATHS = [
    ("PUT", "/v1/episodes/lab-07/e.tar.zst"),
    ("GET", "/v1/episodes/lab-07/e.tar.zst"),
    ("HEAD", "/v1/episodes/lab-07/e.tar.zst"),
    ("GET", "/v1/episodes"),
    ("GET", "/v1/index.jsonl"),
    ("GET", "/v1/hosts"),
    ("GET", "/metrics"),
    ("POST", "/v1/ping"),
    ("PUT", "/v1/host-health/lab-07"),
    ("GET", "/v1/host-health/lab-07"),
    ("GET", "/v1/host-health"),
]


def command(file: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [str(BIN / "cis490-receiver"), "token", *arguments],
        env=clean_environment(tokens_file=file),
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def taken_up(receiver: Receiver, token: str, status: int) -> None:
    """Wait until every worker knows: within a second, the documentation says."""
    deadline = time.monotonic() + 5
    streak = 0
    while streak < 8:
        assert time.monotonic() < deadline, "the change was not taken up"
        answer = receiver.request("POST", "/v1/ping", headers=bearer(token))
        streak = streak + 1 if answer.status == status else 0


def test_a_token_ships_as_its_host_alone_until_it_is_revoked(start_receiver: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    receiver: Receiver = start_receiver(tokens_file=file)
    token = command(file, "add", "lab-07")
    reader = json.loads(command(file, "add", "trainer", "--scope", "read", "--json"))["token"]
    command(file, "add", "lab-07", status=2)
    assert token not in file.read_text() and file.stat().st_mode & 0o777 == 0o640
    taken_up(receiver, token, 200)
    taken_up(receiver, reader, 200)

    def put(host: str, token: str) -> Answer:
        return receiver.put(host, "e", EPISODE, **bearer(token))

    assert put("lab-07", token).status == 201
    other = put("lab-08", token)
    assert (other.status, other.json["code"]) == (403, "host-mismatch")
    assert receiver.request("PUT", "/v1/host-health/lab-08", b"{}", bearer(token)).status == 403
    assert receiver.request("PUT", "/v1/host-health/lab-07", b"{}", bearer(token)).status == 200
    assert receiver.request("GET", "/v1/episodes", headers=bearer(token)).json["code"] == "scope-missing"
    assert receiver.request("GET", "/v1/episodes", headers=bearer(reader)).status == 200
    assert put("trainer", reader).status == 403
    assert receiver.put("anybody", "e", EPISODE).status == 201  # the fleet's token
    preflight = bearer(token) | {"X-Lab-Host": "lab-08", "X-Schema-Version": "2"}
    assert receiver.request("POST", "/v1/ping", headers=preflight).json["code"] == "host-mismatch"

    assert "lab-07  hosts lab-07  ship" in command(file, "list")
    command(file, "revoke", "lab-07")
    command(file, "revoke", "lab-07", status=1)
    taken_up(receiver, token, 401)
    expired = command(file, "add", "old", "--expires", "2020-01-01")
    assert receiver.request("POST", "/v1/ping", headers=bearer(expired)).status == 401
    file.write_text("nonsense = [")
    taken_up(receiver, reader, 200)
    file.unlink()
    taken_up(receiver, reader, 401)


def test_no_route_lets_a_wrong_token_in_or_breaks_on_it_or_logs_it(
    start_receiver: Any, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.toml"
    foreign = command(file, "add", "elsewhere")
    receiver: Receiver = start_receiver(tokens_file=file)
    wrong: list[dict[str, str]] = [
        {},
        *map(bearer, ["wrong-token", "t\xf6ken", "L" * 8000]),
        {"Authorization": "Basic eA=="},
    ]
    for method, path in PATHS:
        for headers in wrong:
            assert receiver.request(method, path, b"{}" if method == "PUT" else None, headers).status == 401
        answer = receiver.request(method, path, b"{}" if method == "PUT" else None, bearer(foreign))
        assert answer.status in ((400, 403) if path != "/v1/ping" else (200,))
    for secret in (foreign, "wrong-token", "L" * 100, AUTH["Authorization"].split()[1]):
        assert secret not in receiver.log_text()
    assert receiver.process is not None
    for pid in (receiver.process.pid, *receiver.worker_pids()):
        assert AUTH["Authorization"].split()[1].encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()

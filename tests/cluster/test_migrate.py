"""Everything of a receiver moved to a cluster and back, while it takes episodes, by a command that is killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.running import Cluster
from tests.support import objects, postgres
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment

pytestmark = pytest.mark.slow

SECONDS: Final = 60.0
SMALL_BYTES: Final = 3000
LARGE_BYTES: Final = (8 << 20) + 5
#: How often the command is killed.
KILLS: Final = 3


class Both:
    """One machine and a cluster."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "one"
        self.tokens = folder / "tokens.toml"
        self.cluster = Cluster(folder, objects.shared("seaweedfs"), postgres.shared().migrated())
        self.cluster.settings["tokens_file"] = self.tokens
        for receiver in self.cluster.receivers:
            receiver.settings["tokens_file"] = self.tokens
        self.one = Receiver(self.data_dir, folder / "log-one", workers=2, tokens_file=self.tokens)

    def start_migrate(self, *arguments: str) -> subprocess.Popen[str]:
        environment = clean_environment(**self.cluster.settings, data_dir=self.data_dir.with_name("machine"))
        command = [str(BIN / "cis490-receiver"), "migrate", *arguments, "--json"]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def migrate(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        process = self.start_migrate(*arguments)
        output, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == status, (arguments, output, errors)
        answer: dict[str, Any] = json.loads(output)
        return answer

    def locally(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(data_dir=self.data_dir, tokens_file=self.tokens)
        command = [BIN / "cis490-receiver", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


class Writers:
    """Ship episodes to a receiver, and note which were acknowledged."""

    def __init__(self, receiver: Receiver) -> None:
        self.acknowledged: dict[str, str] = {}
        self._receiver = receiver
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(3)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def _run(self, writer: int) -> None:
        number = 0
        while not self._stop.is_set():
            name = f"w{writer}-{id(self) % 9973}-{number}"
            data = random.Random(name).randbytes(SMALL_BYTES)
            number += 1
            try:
                status = put(self._receiver, name, data)
            except OSError:
                # It is stopped.
                time.sleep(0.05)
                continue
            if status == 201:
                self.acknowledged[name] = hashlib.sha256(data).hexdigest()
            time.sleep(0.04)


def put(receiver: Receiver, name: str, data: bytes) -> int:
    digest = hashlib.sha256(data).hexdigest()
    headers = AUTH | {"X-Content-SHA256": digest}
    return receiver.request("PUT", f"/v1/episodes/lab-1/{name}.tar.zst", body=data, headers=headers).status


def index_of(receiver: Receiver, start: int = 0) -> tuple[bytes, str, str]:
    answer = receiver.request("GET", "/v1/index.jsonl", headers=AUTH | {"Range": f"bytes={start}-"})
    if answer.status == 416:
        return b"", answer.headers["X-Index-Generation"], ""
    return answer.body, answer.headers["X-Index-Generation"], answer.headers["ETag"]


def assert_all_there(receiver: Receiver, acknowledged: dict[str, str]) -> None:
    text, _, _ = index_of(receiver)
    lines = [json.loads(line) for line in text.splitlines()]
    assert len({line["episode_id"] for line in lines}) == len(lines)
    assert {line["episode_id"]: line["sha256"] for line in lines}.items() >= acknowledged.items()
    for name, digest in acknowledged.items():
        body = receiver.request("GET", f"/v1/episodes/lab-1/{name}.tar.zst", headers=AUTH).body
        assert hashlib.sha256(body).hexdigest() == digest, name


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    made = Both(tmp_path)
    yield made
    made.one.end()
    made.cluster.end()


def test_a_move_under_load_by_a_command_that_is_killed_and_back_loses_nothing(both: Both) -> None:
    one = both.one
    one.start()
    large = random.Random("large").randbytes(LARGE_BYTES)
    assert put(one, "large", large) == 201 and put(one, "spoilt", b"spoilt") == 201
    report = json.dumps({"checks": [{"name": "clock", "ok": False}]}).encode()
    assert one.request("PUT", "/v1/host-health/lab-1", body=report, headers=AUTH).status in (200, 201)
    assert put(one, "conflict", b"1") == 201 and put(one, "conflict", b"2") == 409
    for command in (
        ("withdraw", "lab-1/spoilt", "--why", "spoilt"),
        ("release", "create", "r1"),
        ("mute", "lab-2", "--for", "3h", "--why", "away"),
        ("token", "add", "reader", "--scope", "read"),
        ("health-check",),
    ):
        done = both.locally(*command)
        assert done.returncode in (0, 1), (command, done.stderr)

    origin = ["--from", str(both.data_dir)]
    with Writers(one) as writers:
        for number in range(KILLS):
            process = both.start_migrate(*origin)
            time.sleep(0.6 + 0.3 * number)
            process.kill()
            process.communicate()
        both.migrate(*origin)
        follower, generation, _ = index_of(one)
        finishing = both.start_migrate(*origin, "--finish")
        assert finishing.stderr is not None
        # Told to stop the receiver.
        told = ""
        while "stop the receiver" not in told:
            told += finishing.stderr.readline()
            assert finishing.poll() is None, told
        last, _, _ = index_of(one)
        one.end()
        output, errors = finishing.communicate(timeout=SECONDS)
    assert finishing.returncode == 0, (output, errors)
    finished = json.loads(output)
    assert finished["finished"] and not finished["left_behind"]
    everything = dict(writers.acknowledged) | {"large": hashlib.sha256(large).hexdigest()}
    assert (both.data_dir / "index.jsonl").stat().st_size == finished["index_bytes"] >= len(last)

    refused = both.locally("stats")
    assert refused.returncode == 2 and "was moved to s3://" in refused.stderr.replace("\n", " ")
    both.cluster.start()
    for receiver in both.cluster.receivers:
        rest, now, _ = index_of(receiver, len(follower))
        assert now == generation
        assert follower + rest == (both.data_dir / "index.jsonl").read_bytes()
    assert_all_there(both.cluster.receivers[1], everything)
    assert both.migrate(*origin, status=2)["code"] == "bad-configuration"
    assert_records(both.cluster.receivers[0])

    # And back, to the folder that it came from, beside writers that know nothing of it.
    to = ["--to", str(both.data_dir)]
    with Writers(both.cluster.receivers[0]) as writers:
        for number in range(KILLS):
            process = both.start_migrate(*to)
            time.sleep(0.6 + 0.3 * number)
            process.kill()
            process.communicate()
        both.migrate(*to)
        # While a receiver runs, it is waited for.
        waited = both.migrate(*to, "--finish", "--wait", "0", status=1)
        assert waited["code"] == "still-used"
    both.cluster.end()
    finished = both.migrate(*to, "--finish")
    assert finished["finished"]
    everything |= writers.acknowledged
    one.start()
    rest, now, _ = index_of(one, len(follower))
    assert now == generation and len(follower) + len(rest) == finished["index_bytes"]
    assert_all_there(one, everything)
    assert_records(one)
    refused_start = both.cluster.run("stats")
    assert refused_start.returncode == 2 and "was moved to" in refused_start.stderr.replace("\n", " ")


def assert_records(receiver: Receiver) -> None:
    listed = receiver.request("GET", "/v1/episodes?limit=1000", headers=AUTH).json["episodes"]
    assert "spoilt" not in {episode["episode_id"] for episode in listed}
    releases = receiver.request("GET", "/v1/releases", headers=AUTH).json["releases"]
    assert [release["name"] for release in releases] == ["r1"]
    health = receiver.request("GET", "/v1/host-health/lab-1", headers=AUTH)
    assert health.status == 200, health.body


def test_what_cannot_be_copied_is_told_and_left_only_when_that_is_said(both: Both) -> None:
    one = both.one
    one.start()
    for name in ("good", "rotten", "gone"):
        assert put(one, name, name.encode()) == 201
    one.end()
    folder = both.data_dir / "episodes/lab-1"
    os.chmod(folder / "rotten.tar.zst", 0o600)
    (folder / "rotten.tar.zst").write_bytes(b"ROTTEN")
    (folder / "gone.tar.zst").unlink()
    origin = ["--from", str(both.data_dir)]
    first = both.migrate(*origin, status=1)
    assert {entry["episode"] for entry in first["left_behind"]} == {"lab-1/rotten", "lab-1/gone"}
    assert both.migrate(*origin, "--finish", status=1)["code"] == "left-behind"
    # It was not switched over.
    one.start()
    assert put(one, "later", b"later") == 201
    one.end()
    finished = both.migrate(*origin, "--finish", "--leave-behind", status=1)
    assert finished["finished"] and finished["episodes"] == 2
    both.cluster.receivers[0].start()
    assert_all_there(both.cluster.receivers[0], {"later": hashlib.sha256(b"later").hexdigest()})


def test_an_interrupted_switch_leaves_both_closed_until_it_is_gone_on_with_or_given_up(both: Both) -> None:
    both.one.start()
    assert put(both.one, "a", b"a") == 201
    both.one.end()
    origin = ["--from", str(both.data_dir)]
    # A trigger in the database stops it where the origin is closed and the destination not yet open.
    postgres.shared().ask(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;"
        "CREATE TRIGGER wait BEFORE UPDATE OF end_offset ON journal_head EXECUTE FUNCTION wait()",
        both.cluster.database_url,
    )
    process = both.start_migrate(*origin, "--finish")
    deadline = time.monotonic() + SECONDS
    while not (both.data_dir / "moved.json").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    postgres.shared().ask("DROP TRIGGER wait ON journal_head", both.cluster.database_url)
    stopped = both.locally("stats")
    assert stopped.returncode == 2 and "--give-up" in stopped.stderr
    closed = both.cluster.run("stats")
    assert closed.returncode == 2 and "not complete" in closed.stderr.replace("\n", " ")
    assert both.migrate(*origin, "--give-up")["given_up"]
    assert both.locally("stats").returncode == 0
    assert both.migrate(*origin, "--finish")["finished"]
    assert both.cluster.run("stats").returncode == 0

"""mirror: the trainer's folder becomes the receiver's, whatever interrupts it, and believes nothing but digests."""

from __future__ import annotations

import hashlib
import http.server
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cis490_receiver.trainer.fetch import NOT_THERE
from tests.support.archives import make_episode
from tests.support.receiver import BIN, Receiver, clean_environment

COMMAND = str(BIN / "cis490-receiver")


def arguments(receiver: Receiver, folder: Path, token_file: Path, *options: str) -> list[str]:
    url = f"http://127.0.0.1:{receiver.port}"
    return [COMMAND, "mirror", url, str(folder), "--token-file", str(token_file), "--json", *options]


def mirror(
    receiver: Receiver, folder: Path, token_file: Path, *options: str, status: int = 0
) -> dict[str, Any]:
    done = subprocess.run(
        arguments(receiver, folder, token_file, *options),
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
    return answer


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "episodes").rglob("*.zst")}


def ship(receiver: Receiver, count: int, *, first: int = 0, size: int = 5000) -> None:
    for number in range(first, first + count):
        kind = "infected" if number % 3 == 0 else "control"
        answer = receiver.put(
            f"h{number % 4}", f"e{number}", make_episode(number, size=size), X_Episode_Type=kind
        )
        assert answer.status == 201


def test_it_fetches_once_keeps_up_and_filters(receiver: Receiver, tmp_path: Path, token_file: Path) -> None:
    folder = tmp_path / "mirror"
    ship(receiver, 12)
    assert mirror(receiver, folder, token_file) == {
        "present": 12, "fetched": 12, "fetched_bytes": sum(map(len, files(receiver.data_dir).values())), "failed": {},
        "withdrawn": 0,
    }  # fmt: skip
    assert files(folder) == files(receiver.data_dir)
    assert (folder / "index.jsonl").read_bytes() == (receiver.data_dir / "index.jsonl").read_bytes()
    assert mirror(receiver, folder, token_file)["fetched"] == 0
    ship(receiver, 5, first=12)
    assert mirror(receiver, folder, token_file)["fetched"] == 5
    assert files(folder) == files(receiver.data_dir)

    # What rotted here is found when asked, and fetched again.
    victim = folder / "episodes" / "h1" / "e1.tar.zst"
    victim.write_bytes(b"x" * victim.stat().st_size)
    assert mirror(receiver, folder, token_file)["fetched"] == 0
    assert mirror(receiver, folder, token_file, "--check")["fetched"] == 1
    assert files(folder) == files(receiver.data_dir)

    part = tmp_path / "part"
    assert mirror(receiver, part, token_file, "--host", "h0", "--episode-type", "infected")["present"] == 2
    lines = [json.loads(line) for line in (part / "index.jsonl").read_text().splitlines()]
    assert [line["episode_id"] for line in lines] == ["e0", "e12"]


def test_a_swapped_index_is_followed_without_fetching_again(
    receiver: Receiver, tmp_path: Path, token_file: Path
) -> None:
    folder = tmp_path / "mirror"
    ship(receiver, 6)
    mirror(receiver, folder, token_file)
    journal = receiver.data_dir / "index.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    copy = receiver.data_dir / "copy"
    copy.write_bytes(b"".join(reversed(lines[1:])))
    copy.rename(journal)
    again = mirror(receiver, folder, token_file)
    assert (again["present"], again["fetched"]) == (5, 0)
    assert (folder / "index.jsonl").read_bytes() == journal.read_bytes()


def test_a_partial_file_is_continued(receiver: Receiver, tmp_path: Path, token_file: Path) -> None:
    folder = tmp_path / "mirror"
    episode = make_episode(1, size=3_000_000)
    assert receiver.put("h", "e", episode).status == 201
    name = hashlib.sha256(f"h/e {episode.sha256}".encode()).hexdigest()
    (folder / "partial").mkdir(parents=True)
    (folder / "partial" / name).write_bytes(episode.data[:2_000_000])
    trace = tmp_path / "trace"
    command = arguments(receiver, folder, token_file)
    subprocess.run(
        ["strace", "-f", "-e", "trace=sendto", "-s", "400", "-o", trace, *command],
        env=clean_environment(),
        check=True,
    )
    assert "Range: bytes=2000000-" in trace.read_text()
    assert files(folder) == {"episodes/h/e.tar.zst": episode.data}
    # One that was spoilt is noticed by its digest, thrown away, and fetched whole by another attempt.
    (folder / "episodes" / "h" / "e.tar.zst").unlink()
    (folder / "index.jsonl").unlink()
    (folder / "partial" / name).write_bytes(b"spoilt" * 1000)
    assert mirror(receiver, folder, token_file, "--check")["fetched"] == 1
    assert files(folder) == {"episodes/h/e.tar.zst": episode.data}


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [1000])
def test_killed_twenty_times_it_ends_byte_identical(
    receiver: Receiver, tmp_path: Path, token_file: Path, episodes: int
) -> None:
    folder = tmp_path / "mirror"
    ship(receiver, episodes, size=20_000)
    dice = random.Random(1)
    killed = 0
    for _ in range(20):
        run = subprocess.Popen(
            arguments(receiver, folder, token_file), env=clean_environment(), stdout=subprocess.DEVNULL
        )
        time.sleep(0.15 + dice.random() * 0.25)
        run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
    assert killed >= 10
    assert mirror(receiver, folder, token_file)["present"] == episodes
    assert files(folder) == files(receiver.data_dir)
    assert (folder / "index.jsonl").read_bytes() == (receiver.data_dir / "index.jsonl").read_bytes()
    assert not list((folder / "partial").iterdir())


class Liar(http.server.BaseHTTPRequestHandler):
    """A receiver whose episodes are not what its index says, and whose names lead out of the folder."""

    def do_GET(self) -> None:
        record = {
            "host_id": "h", "episode_id": "e", "sha256": "0" * 64, "size_bytes": 4, "schema_version": 2,
            "received_at_wall": "2026-01-01T00:00:00Z", "received_at_ns": 1,
        }  # fmt: skip
        lines = [record, record | {"host_id": "../../out"}, record | {"episode_id": "../out"}]
        body = b"lies"
        if "index" in self.path:
            body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        elif "withdrawn" in self.path:
            body = b'{"episodes": [], "next": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def liar() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_remote_that_lies_leaves_nothing_under_a_name(liar: int, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er" / "mirror"
    done = subprocess.run(
        [COMMAND, "mirror", f"http://127.0.0.1:{liar}", str(folder)],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "h/e: its bytes do not match the index" in done.stderr
    assert [str(p) for p in tmp_path.rglob("*out*")] == [] and files(folder) == {}
    assert (folder / "index.jsonl").read_bytes() == b""


def test_what_stands_in_the_way_is_said(receiver: Receiver, tmp_path: Path, token_file: Path) -> None:
    folder = tmp_path / "mirror"
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    assert "refused the token" in mirror(receiver, folder, wrong, status=1)["error"]
    port = receiver.port
    receiver.stop()
    receiver.port = port
    assert "cannot read the receiver's index" in mirror(receiver, folder, token_file, status=1)["error"]
    assert "own data folder" in _run("http://x", str(receiver.data_dir)).stderr
    assert "not the address of a receiver" in _run("receiver", str(folder)).stderr
    assert _run("http://x", str(folder), "--since", "noon").returncode == 2


def test_what_does_not_fit_is_said_at_once_and_the_rest_is_kept(
    receiver: Receiver, tmp_path: Path, token_file: Path
) -> None:
    ship(receiver, 3)
    assert receiver.put("h", "large", make_episode(9, size=1 << 20)).status == 201
    folder = tmp_path / "mirror"
    done = subprocess.run(
        ["prlimit", f"--fsize={1 << 19}", *arguments(receiver, folder, token_file)],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    [reason] = json.loads(done.stdout)["failed"].values()
    assert f"make room in {folder} and run it again" in reason
    assert len(files(folder)) == len((folder / "index.jsonl").read_bytes().splitlines()) == 3
    assert mirror(receiver, folder, token_file)["fetched"] == 1


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "mirror", *words], env=clean_environment(), capture_output=True, text=True
    )


def test_what_the_receiver_lost_is_asked_for_once_and_counted(
    receiver: Receiver, tmp_path: Path, token_file: Path
) -> None:
    folder = tmp_path / "mirror"
    ship(receiver, 60, size=200)
    lost = sorted((receiver.data_dir / "episodes").rglob("*.zst"))[:50]
    for path in lost:
        path.unlink()
    started = time.monotonic()
    told = mirror(receiver, folder, token_file, status=1)
    # Asked four times, with pauses, each would take seconds.
    assert time.monotonic() - started < 10
    assert (told["present"], told["fetched"], len(told["failed"])) == (10, 10, 50)
    assert set(told["failed"].values()) == {NOT_THERE}
    assert receiver.log.read_text().count("not-found") <= len(lost)
    words = arguments(receiver, folder, token_file)
    words.remove("--json")
    done = subprocess.run(words, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "and 30 more" in done.stderr and "50 are in the receiver's index and not on its disk" in done.stderr
    )


def test_what_is_withdrawn_leaves_the_mirror_and_comes_back(
    receiver: Receiver, tmp_path: Path, token_file: Path
) -> None:
    folder = tmp_path / "mirror"
    ship(receiver, 4)
    assert mirror(receiver, folder, token_file)["present"] == 4
    whole = files(folder)
    key = json.loads((folder / "index.jsonl").read_text().splitlines()[0])
    name = f"{key['host_id']}/{key['episode_id']}"
    withdraw = [COMMAND, "withdraw", name]
    environment = clean_environment(data_dir=receiver.data_dir)
    subprocess.run([*withdraw, "--why", "spoiled"], env=environment, check=True)
    done = mirror(receiver, folder, token_file)
    assert (done["present"], done["withdrawn"], done["fetched"]) == (3, 1, 0)
    assert files(folder) == {path: data for path, data in whole.items() if name not in path}
    assert (folder / "withdrawn" / f"{name}.tar.zst").read_bytes() == whole[f"episodes/{name}.tar.zst"]
    assert key["episode_id"] not in (folder / "index.jsonl").read_text()
    assert mirror(receiver, folder, token_file)["withdrawn"] == 0
    assert mirror(receiver, tmp_path / "only", token_file, "--withdrawn", "only")["present"] == 1
    subprocess.run([*withdraw, "--undo"], env=environment, check=True)
    done = mirror(receiver, folder, token_file)
    assert (done["present"], done["fetched"]) == (4, 0) and files(folder) == whole

"""Uploads in pieces by clients that no decent client is: never a 5xx, never a hang, and nothing is left open."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cis490_receiver.resumable import PER_HOST
from tests.faults.test_hostile_clients import answers_to, statuses
from tests.integration.test_uploads import create, creation, head, metadata
from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, Receiver


def raw_patch(path: str, offset: int, length: int, *more: str) -> bytes:
    lines = [f"PATCH {path} HTTP/1.1", "Host: x", f"Authorization: {AUTH['Authorization']}"]
    lines += [
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Offset: {offset}",
    ]
    lines += [f"Content-Length: {length}"] if length >= 0 else []
    return "\r\n".join([*lines, *more, "", ""]).encode()


def open_files(receiver: Receiver) -> list[str]:
    """What the workers have open but for connections, and how many threads they have."""
    found = []
    for pid in receiver.worker_pids():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(fd))
    return sorted(name for name in found if not name.startswith(("socket:", "pipe:", "anon_inode:")))


def threads(receiver: Receiver) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in receiver.worker_pids())


def hostile_creations(episode: Archive) -> Iterator[tuple[str, dict[str, str]]]:
    good = creation(episode)
    said = good["Upload-Metadata"]
    for length in ("-1", "+5", "1e3", "0x10", "5.0", " ", "\xb2", "\u0663".encode().decode("latin-1"), "1_0", "9" * 400, "18446744073709551616", "5, 5"):  # fmt: skip
        yield f"length {length[:20]}", good | {"Upload-Length": length}
    for text in (
        f"{said},{said}", f"{said},sha256 AAAA", "host_id", ",", ", ,", "host_id !!!", "host_id YQ", "host_id YQ===", "\xff YQ==",
        "host_id " + base64.b64encode(b"\xff\xfe").decode(), metadata(host_id="..", episode_id="a"), metadata(host_id="a\x00b", episode_id="a"),
        metadata(host_id="a/b", episode_id="a"), "x" * 8100, "a " + "Q" * 8000, ",".join(f"n{n} YQ==" for n in range(700)), metadata(host_id="\u0663", episode_id="e"),
    ):  # fmt: skip
        yield f"metadata {text[:30]!r}", good | {"Upload-Metadata": text}
    yield "a schema of another script", creation(episode, schema_version="\u0663")


def hostile_patches(path: str) -> Iterator[bytes]:
    for offset in ("-1", "+0", "0x0", "\xb2", "9" * 30, "", "0, 0", "0\r\nUpload-Offset: 5"):
        yield (
            raw_patch(path, 0, 3).replace(b"Upload-Offset: 0", f"Upload-Offset: {offset}".encode("latin-1"))
            + b"abc"
        )
    for digest in (
        "sha256",
        "sha256 !!!",
        "sha256 AAAA",
        "sha1 " + "A" * 28,
        "x" * 8000,
        "sha256 " + "A" * 500,
    ):
        yield raw_patch(path, 0, 3, f"Upload-Checksum: {digest}") + b"abc"
    for body in (
        b"zz\r\nabc",
        b"-5\r\nabcde",
        b"5\r\nabcdeXX0\r\n\r\n",
        b"5\r\nab",
        b"f" * 17 + b"\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc",
    ):
        # What came of it before it broke is kept.
        yield raw_patch(path, 0, -1, "Transfer-Encoding: chunked") + body
        yield raw_patch(path, 7, -1, "Transfer-Encoding: chunked") + body
    yield raw_patch(path, 0, 10**15) + b"abc"
    yield raw_patch(path, 0, 10**17) + b"abc"
    yield raw_patch(path, 0, 3, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    for name in ("..", "%2e%2e", "a" * 5000, "%00", "0" * 31, "0" * 33, "A" * 32, "\u0663" * 32, f"{path.rpartition('/')[2]}~upload", f"../uploads/{path.rpartition('/')[2]}"):  # fmt: skip
        yield raw_patch(f"/v1/uploads/{name}".encode().decode("latin-1"), 0, 3) + b"abc"
    for method in ("X", "\xff", "PUT", "POST", "PATCH, PATCH"):
        text = raw_patch(path, 0, 3, f"X-HTTP-Method-Override: {method}").replace(b"PATCH /", b"POST /", 1)
        yield text + b"abc"


def test_hostile_requests_leave_nothing_behind(start_receiver: Callable[..., Receiver]) -> None:
    receiver = start_receiver(workers=1, head_seconds=3, body_idle_seconds=3)
    episode = make_episode(4, size=100_000)
    path = create(receiver, episode)
    assert head(receiver, path).status == 200
    files, incoming = open_files(receiver), receiver.incoming()
    for what, headers in hostile_creations(episode):
        with contextlib.closing(receiver.connect()) as connection:
            connection.putrequest("POST", "/v1/uploads")
            for name, value in headers.items():
                connection.putheader(name, value.encode("latin-1", "replace"))
            connection.endheaders()
            status = connection.getresponse().status
        assert 400 <= status < 500, (what, status)
    told = list(hostile_patches(path))
    with ThreadPoolExecutor(8) as pool:
        for data, answer in zip(told, pool.map(lambda data: answers_to(receiver, data), told), strict=True):
            found = statuses(answer)
            assert len(found) == 1 and 400 <= found[0] < 500, (
                data[:300],
                answer[:300],
            )
    assert "Traceback" not in receiver.log_text()
    offset = int(head(receiver, path).headers["Upload-Offset"])
    # Of chunks that broke off, what came before.
    assert offset <= 17
    # One that says nothing any more is let go.
    with contextlib.closing(receiver.raw()) as slow:
        slow.sendall(raw_patch(path, offset, len(episode.data) - offset) + episode.data[offset : offset + 7])
        answer = slow.recv(65536)
        assert statuses(answer) == [408], answer
    assert int(head(receiver, path).headers["Upload-Offset"]) == offset + 7
    assert receiver.incoming() == incoming
    deadline = time.monotonic() + 5
    while open_files(receiver) != files and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_files(receiver) == files


def test_a_host_makes_so_many_uploads_and_no_more(receiver: Receiver) -> None:
    episode = make_episode(5)
    before, workers = open_files(receiver), threads(receiver)

    def make(number: int) -> int:
        return receiver.request("POST", "/v1/uploads", None, creation(episode, name=f"e{number}")).status

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(PER_HOST + 30)))
    # Those that are made at the same moment may all be the last one.
    assert set(made) == {201, 429} and PER_HOST <= made.count(201) <= PER_HOST + 4
    assert create(receiver, episode, host="another")
    assert len(receiver.incoming()) == 2 * (made.count(201) + 1)
    assert [name for name in open_files(receiver) if "incoming" in name] == []
    assert len(open_files(receiver)) <= len(before) + 8 and threads(receiver) <= workers + 40

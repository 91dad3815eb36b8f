"""The contract's table of refusals, in its order, on the real server."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest

from tests.support.archives import make_episode
from tests.support.receiver import AUTH, Receiver, put_headers

EPISODE = make_episode(1)
GOOD = put_headers(EPISODE)


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in GOOD.items() if key != name}


REFUSALS: list[tuple[str, str, dict[str, str], int, str]] = [
    ("no token", "h/e.tar.zst", without("Authorization"), 401, "missing bearer token"),
    ("another scheme", "h/e.tar.zst", GOOD | {"Authorization": "Basic eDp5"}, 401, "missing bearer token"),
    ("scheme alone", "h/e.tar.zst", GOOD | {"Authorization": "Bearer"}, 401, "missing bearer token"),
    ("wrong token", "h/e.tar.zst", GOOD | {"Authorization": "Bearer nope"}, 401, "bad bearer token"),
    ("non-ASCII token", "h/e.tar.zst", GOOD | {"Authorization": "Bearer \xe9\xff"}, 401, "bad bearer token"),
    ("8 KB token", "h/e.tar.zst", GOOD | {"Authorization": "Bearer " + "x" * 8000}, 401, "bad bearer token"),
    ("token before name", "..%2f/x", without("Authorization"), 401, "missing bearer token"),
    ("suffix", "h/e.tar.gz", GOOD, 400, "expected .tar.zst suffix"),
    ("no suffix", "h/e", GOOD, 400, "expected .tar.zst suffix"),
    ("upper-case suffix", "h/e.TAR.ZST", GOOD, 400, "expected .tar.zst suffix"),
    ("suffix before sha", "h/e.zip", AUTH, 400, "expected .tar.zst suffix"),
    ("dot host", "./e.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("dot dot in id", "h/a..b.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("leading dot", "h/.e.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("empty id", "h/.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("empty host", "/e.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("no host", "e.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("three segments", "h/x/e.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("encoded slash", "h%2F..%2Fe.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("NUL", "h/e%00.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("newline", "h/e%0a.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("not ASCII", "h/%C3%A9.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("129 characters", f"h/{'e' * 129}.tar.zst", GOOD, 400, "bad host_id or episode_id"),
    ("id before sha", "-h/e.tar.zst", AUTH, 400, "bad host_id or episode_id"),
    ("no sha", "h/e.tar.zst", AUTH, 400, "X-Content-SHA256 header (64 hex chars) required"),
    (
        "63 digits",
        "h/e.tar.zst",
        GOOD | {"X-Content-SHA256": "a" * 63},
        400,
        "X-Content-SHA256 header (64 hex chars) required",
    ),
    (
        "sha before schema",
        "h/e.tar.zst",
        GOOD | {"X-Content-SHA256": "g" * 64, "X-Schema-Version": "x"},
        400,
        "X-Content-SHA256 header (64 hex chars) required",
    ),
    ("schema", "h/e.tar.zst", GOOD | {"X-Schema-Version": "two"}, 400, "bad X-Schema-Version"),
    ("fraction", "h/e.tar.zst", GOOD | {"X-Schema-Version": "2.0"}, 400, "bad X-Schema-Version"),
    ("empty schema", "h/e.tar.zst", GOOD | {"X-Schema-Version": ""}, 400, "bad X-Schema-Version"),
    ("huge schema", "h/e.tar.zst", GOOD | {"X-Schema-Version": "9" * 5000}, 400, "bad X-Schema-Version"),
]


@pytest.mark.parametrize(
    ("path", "headers", "status", "error"), [row[1:] for row in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_the_first_rule_that_fails_answers(
    shared_receiver: Receiver, path: str, headers: dict[str, str], status: int, error: str
) -> None:
    answer = shared_receiver.request("PUT", f"/v1/episodes/{path}", EPISODE.data, headers)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.json["code"].replace("-", "").isalnum()
    assert answer.headers["Content-Type"] == "application/json"
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not {key for key in shared_receiver.stored() if key[0] != "after-cut"}


def raw_put(receiver: Receiver, head: str, body: bytes = b"") -> tuple[int, Any]:
    """Send a request to the letter; gives status and JSON."""
    with contextlib.closing(receiver.raw()) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    status_line, _, rest = answer.partition(b"\r\n")
    return int(status_line.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


def head(*lines: str, path: str = "/v1/episodes/h/e.tar.zst") -> str:
    fixed = [f"PUT {path} HTTP/1.1", f"Authorization: {AUTH['Authorization']}"]
    return "\n".join([*fixed, f"X-Content-SHA256: {EPISODE.sha256}", *lines, "", ""])


@pytest.mark.parametrize(
    ("lines", "status", "error"),
    [
        (["Host: x"], 411, "send Content-Length or a chunked body"),
        (["Host: x", "Content-Length: ten"], 400, "bad Content-Length"),
        (["Host: x", "Content-Length: -1"], 400, "bad Content-Length"),
        (["Host: x", "Content-Length: 1" + "0" * 30], 413, "episode exceeds max size"),
        (["Host: x", "Content-Length: 99999999999999"], 413, "episode exceeds max size"),
        (["Content-Length: 3"], 400, "a Host header is required"),
        (
            ["Host: x", "Transfer-Encoding: gzip, chunked"],
            400,
            "the only Transfer-Encoding understood is chunked",
        ),
    ],
)
def test_framing_that_cannot_be_trusted_is_refused(
    shared_receiver: Receiver, lines: list[str], status: int, error: str
) -> None:
    answered, body = raw_put(shared_receiver, head(*lines), b"abc")
    assert (answered, body["error"]) == (status, error)
    assert ("h", "e.tar.zst") not in shared_receiver.stored()


def test_a_chunked_body_stops_at_the_limit(start_receiver: Any) -> None:
    receiver: Receiver = start_receiver(max_episode_bytes=100_000)
    episode = make_episode(2, size=300_000)
    pieces = (episode.data[start : start + 10_000] for start in range(0, len(episode.data), 10_000))
    answer = receiver.request(
        "PUT", "/v1/episodes/h/e.tar.zst", pieces, put_headers(episode), encode_chunked=True
    )
    assert (answer.status, answer.json["error"]) == (413, "episode exceeds max size")
    announced = receiver.put("h", "e", episode)
    assert (announced.status, announced.json["error"]) == (413, "episode exceeds max size")
    assert receiver.stored() == {} and receiver.incoming() == []
    assert receiver.put("h", "small", make_episode(3)).status == 201


def test_a_body_that_would_eat_into_the_reserve_is_507(start_receiver: Any) -> None:
    receiver: Receiver = start_receiver(disk_reserve_bytes="250TiB")
    answer = receiver.put("h", "e", EPISODE)
    assert (answer.status, answer.json["code"]) == (507, "disk-reserve")
    assert int(answer.headers["Retry-After"]) > 0
    ready = receiver.request("GET", "/v1/ready")
    assert (ready.status, ready.json["reasons"]) == (503, ["disk-reserve"])


def test_a_body_that_does_not_match_leaves_nothing(shared_receiver: Receiver) -> None:
    wrong = make_episode(4)
    answer = shared_receiver.put("h", "e", EPISODE, X_Content_SHA256=wrong.sha256)
    assert answer.status == 400
    assert answer.json["status"] == "sha-mismatch"
    assert answer.json["actual_sha256"] == EPISODE.sha256
    assert ("h", "e.tar.zst") not in shared_receiver.stored() and shared_receiver.incoming() == []


@pytest.mark.parametrize("announced", ["length", "chunked"])
@pytest.mark.parametrize("ending", ["fin", "half-close", "rst"])
@pytest.mark.parametrize("cut", [0, 1, 1000, -1])
def test_a_body_cut_short_is_never_taken(
    shared_receiver: Receiver, announced: str, ending: str, cut: int
) -> None:
    body = EPISODE.data
    sent = body[:cut]
    framing = f"Content-Length: {len(body)}"
    if announced == "chunked":
        framing, sent = "Transfer-Encoding: chunked", b"%x\r\n" % len(body) + sent
    connection = shared_receiver.raw()
    connection.sendall(
        head("Host: x", framing, path="/v1/episodes/cut/e.tar.zst").replace("\n", "\r\n").encode() + sent
    )
    if ending == "half-close":
        connection.shutdown(socket.SHUT_WR)
        status = int(connection.recv(65536).split()[1])
        assert status == 400
    elif ending == "rst":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    # The next good upload is answered after the cut one was seen by the same process or another.
    assert shared_receiver.put("after-cut", "e", EPISODE).status in (200, 201)
    assert ("cut", "e.tar.zst") not in shared_receiver.stored()
    assert "cut" not in {line["host_id"] for line in shared_receiver.index()}


def test_unknown_enumerations_are_dropped_and_the_episode_is_taken(receiver: Receiver) -> None:
    answer = receiver.put("h", "e", EPISODE, X_Episode_Type="Cha\xf6s", X_Benign_Profile="gaming")
    assert answer.status == 201
    [line] = receiver.index()
    assert (line["episode_type"], line["benign_profile"]) == (None, None)
    assert "dropped-header name=X-Episode-Type" in receiver.log_text()


def test_no_answer_is_html(shared_receiver: Receiver) -> None:
    for method, path, status in [
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/episodes/h/e.tar.zst", 405),
        ("POST", "/v1/health", 405),
        ("GET", "/v1/ping", 405),
    ]:
        answer = shared_receiver.request(method, path)
        assert answer.status == status
        assert set(answer.json) == {"error", "code"}


def test_garbage_on_the_wire_is_answered_in_json(shared_receiver: Receiver) -> None:
    for garbage in [
        "GARBAGE\n\n",
        "GET / HTTP/9.9\nHost: x\n\n",
        "GET /\x00 HTTP/1.1\nHost: x\n\n",
        f"GET /{'a' * 9000} HTTP/1.1\n\n",
    ]:
        status, answer = raw_put(shared_receiver, garbage)
        assert 400 <= status < 500
        assert set(answer) == {"error", "code"}

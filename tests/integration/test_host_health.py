"""Doctor reports on the real server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from tests.support.receiver import AUTH, Answer, Receiver

REPORT = {
    "checks": [{"name": "disk", "status": "fail"}, {"name": "clock", "status": "ok"}],
    "versions": {"é": 1.5},
}


def put(receiver: Receiver, host: str, body: Any, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return receiver.request("PUT", f"/v1/host-health/{host}", data, AUTH | headers)


def test_a_report_is_stored_listed_and_replaced(receiver: Receiver) -> None:
    answer = put(receiver, "b", REPORT)
    assert (answer.status, answer.json) == (200, {"status": "stored", "host_id": "b"})
    put(receiver, "a", {"n": 1})
    put(receiver, "a", {"n": 2})
    stored = json.loads((receiver.data_dir / "host-health" / "b.json").read_text())
    assert set(stored) == {"host_id", "received_at_wall", "doctor"} and stored["doctor"] == REPORT
    (receiver.data_dir / "host-health" / "broken.json").write_text('{"host_id": "broken"')
    listing = receiver.request("GET", "/v1/host-health", headers=AUTH).json
    assert [(item["host_id"], item["doctor"]) for item in listing["hosts"]] == [
        ("a", {"n": 2}),
        ("b", REPORT),
    ]
    assert "report-unreadable file=broken.json" in receiver.log_text()
    one = receiver.request("GET", "/v1/host-health/b", headers=AUTH).json
    assert one["doctor"] == REPORT
    assert [past["failed"] for past in one["history"]] == [["disk"]]
    assert len(receiver.request("GET", "/v1/host-health/a", headers=AUTH).json["history"]) == 2
    assert receiver.request("GET", "/v1/host-health/nobody", headers=AUTH).status == 404


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "body must be JSON"),
        (b"{", 400, "body must be JSON"),
        (b'{"a": NaN}', 400, "body must be JSON"),
        (b'{"a": -Infinity}', 400, "body must be JSON"),
        (b'{"a": 1e999}', 400, "body must be JSON"),
        (b'{"a": 1, "a": 2}', 400, "body must be JSON"),
        (b'{"a": "\xff"}', 400, "body must be JSON"),
        (rb'{"a": "\ud800"}', 400, "body must be JSON"),
        (rb'{"\udfff": "a"}', 400, "body must be JSON"),
        (b'{"a": 18446744073709551616}', 400, "body must be JSON"),
        ('{"a": 1}'.encode("utf-16"), 400, "body must be JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "body must be JSON"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "body must be JSON"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", 400, "body must be JSON"),
        (b"[1]", 400, "body must be a JSON object"),
        (b"null", 400, "body must be a JSON object"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', 413, "report exceeds max size"),
    ],
)
def test_what_is_no_report_is_refused(
    shared_receiver: Receiver, body: bytes, status: int, error: str
) -> None:
    answer = put(shared_receiver, "strict", body)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert shared_receiver.request("GET", "/v1/host-health/strict", headers=AUTH).status == 404


def test_who_and_how_much_is_checked_before_the_body(shared_receiver: Receiver) -> None:
    assert shared_receiver.request("PUT", "/v1/host-health/h", b"{}").status == 401
    assert shared_receiver.request("GET", "/v1/host-health").status == 401
    for bad in ("..", "a/b", "-a", "a" * 129, "%00", ""):
        answer = put(shared_receiver, bad, b"no json")
        assert (answer.status, answer.json["error"]) == (400, "bad host_id")
    largest = b'{"a":"' + b"x" * ((1 << 20) - 8) + b'"}'
    assert len(largest) == 1 << 20 and put(shared_receiver, "large", largest).status == 200
    chunks = (b"x" * 100_000 for _ in range(20))
    answer = shared_receiver.request("PUT", "/v1/host-health/h", chunks, AUTH, encode_chunked=True)
    assert answer.status == 413


def test_reports_can_be_turned_off_and_are_never_gated(start_receiver: Any) -> None:
    gated: Receiver = start_receiver(gate_enabled="true")
    assert put(gated, "sick", {"ok": False}).status == 200
    gated.stop()
    off: Receiver = start_receiver(health_dir="")
    assert put(off, "h", {}).status == 404
    assert off.request("GET", "/v1/host-health", headers=AUTH).status == 404


def test_the_listing_is_whole_while_reports_are_written(shared_receiver: Receiver) -> None:
    hosts = [f"many-{number:02}" for number in range(20)]

    def write(host: str) -> None:
        for number in range(5):
            assert put(shared_receiver, host, {"n": number, "pad": "x" * 3000}).status == 200

    def read() -> int:
        listing = shared_receiver.request("GET", "/v1/host-health", headers=AUTH).json["hosts"]
        ids = [item["host_id"] for item in listing]
        assert ids == sorted(ids)
        return len(ids)

    with ThreadPoolExecutor(6) as pool:
        writes = [pool.submit(write, host) for host in hosts]
        counts = [pool.submit(read).result() for _ in range(10)]
        for one in writes:
            one.result()
    assert counts == sorted(counts)
    final = shared_receiver.request("GET", "/v1/host-health", headers=AUTH).json["hosts"]
    assert [item["doctor"]["n"] for item in final if item["host_id"] in hosts] == [4] * 20


def test_why_a_body_is_no_json_is_said(receiver: Receiver) -> None:
    for body, reason in (
        (b'{"a": 1, "a": 2}', "a name occurs twice"),
        (b"[" * 70 + b"]" * 70, "nested deeper than 64"),
        (b'{"a": ' * 70 + b"1" + b"}" * 70, "nested deeper than 64"),
        (b'{"a": 1e999}', "a number is out of range"),
        (rb'{"a": "\ud800"}', "a text holds half of a surrogate pair"),
        (b'{"a": ' + b"9" * 30 + b"}", "an integer does not fit into 64 bits"),
    ):
        answer = receiver.request("PUT", "/v1/host-health/h", body, AUTH)
        assert answer.status == 400
        assert reason in answer.json.get("reason", answer.json["error"])


def test_files_that_are_no_reports_do_not_spoil_the_listing(receiver: Receiver) -> None:
    assert receiver.request("PUT", "/v1/host-health/good", b"{}", AUTH).status == 200
    folder = receiver.data_dir / "host-health"
    text = '{"host_id": "x", "received_at_wall": "2026-11-23T10:00:00Z", "doctor": {}}'
    (folder / "utf16.json").write_bytes(text.encode("utf-16"))
    (folder / "nan.json").write_text(text.replace("{}", '{"a": NaN}'))
    (folder / "half.json").write_text(text.replace("{}", r'{"a": "\ud800"}'))
    (folder / "deep.json").write_text(text.replace("{}", '{"a":' * 100_000 + "{}" + "}" * 100_000))
    (folder / "history" / "good.jsonl").write_text(
        "[" * 100_000 + "\n" + r'{"received_at_wall": "\ud800"}' + "\n"
    )
    assert receiver.request("GET", "/v1/host-health/half", headers=AUTH).status == 404
    assert receiver.request("GET", "/v1/host-health/good", headers=AUTH).json["history"] == []
    listing = receiver.request("GET", "/v1/host-health", headers=AUTH)
    assert orjson.loads(listing.body) == listing.json
    assert [host["host_id"] for host in listing.json["hosts"]] == ["good"]


def test_a_history_is_small_whatever_hosts_say(receiver: Receiver) -> None:
    checks = [{"name": "n" * 300, "status": "fail"}] * 2000
    body = json.dumps({"checks": checks}).encode()
    assert receiver.request("PUT", "/v1/host-health/h", body, AUTH).status == 200
    assert (receiver.data_dir / "host-health" / "history" / "h.jsonl").stat().st_size < 10_000


def test_reports_have_a_folder_of_their_own(start_receiver) -> None:  # type: ignore[no-untyped-def]
    for folder in (".", "..", "episodes", "incoming/"):
        with pytest.raises(RuntimeError, match="health_dir is"):
            start_receiver(health_dir=folder)

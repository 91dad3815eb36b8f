"""export writes the index as a notebook wants it: every record once, times as times, and where to get the episode."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import os
import subprocess
from pathlib import Path

from pyarrow import parquet

from cis490_receiver import protocol
from tests.support.archives import make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "cis490-receiver"), *arguments],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        cwd=os.sep,
    )


def ship(receiver: Receiver, count: int) -> None:
    for number in range(count):
        kind = "infected" if number % 3 == 0 else "control"
        answer = receiver.put(f"h{number % 4}", f"e{number}", make_episode(number), X_Episode_Type=kind)
        assert answer.status == 201


def test_export_and_stats_agree_with_the_index(receiver: Receiver, tmp_path: Path) -> None:
    ship(receiver, 9)
    lines = receiver.index()
    text = run("export", "--host", "h0", data_dir=receiver.data_dir).stdout
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["episode_id"] for row in rows] == ["e8", "e4", "e0"]
    assert rows[0]["sha256"] == lines[8]["sha256"]
    out = tmp_path / "out.jsonl"
    assert run("export", "--format", "jsonl", "-o", str(out), data_dir=receiver.data_dir).returncode == 0
    exported = [json.loads(line) for line in out.read_text().splitlines()]
    for record, line in zip(exported, reversed(lines), strict=True):
        assert record == {**line, "url": protocol.episode_path(line["host_id"], line["episode_id"])}
    stats = json.loads(run("stats", "--json", data_dir=receiver.data_dir).stdout)
    assert {row["name"]: row["episodes"] for row in stats["by_type"]} == {"infected -": 3, "control -": 6}
    for table in stats.values():
        assert sum(row["size_bytes"] for row in table) == sum(line["size_bytes"] for line in lines)
    assert "type and profile" in run("stats", data_dir=receiver.data_dir).stdout


def test_parquet_holds_the_same_records_with_times_as_times(receiver: Receiver, tmp_path: Path) -> None:
    ship(receiver, 3)
    spoiled = receiver.index()[0]
    name = f"{spoiled['host_id']}/{spoiled['episode_id']}"
    assert run("withdraw", name, "--why", "a test", data_dir=receiver.data_dir).returncode == 0
    out, address = tmp_path / "out.parquet", f"http://127.0.0.1:{receiver.port}"
    options = ["--format", "parquet", "--withdrawn", "include", "--url", f"{address}/", "-o", str(out)]
    done = run("export", *options, data_dir=receiver.data_dir)
    assert done.returncode == 0, done.stderr
    table = parquet.read_table(out)
    assert {name: str(table.schema.field(name).type) for name in table.schema.names if "_at_" in name} == {
        "received_at_wall": "timestamp[ms, tz=UTC]",
        "received_at_ns": "timestamp[ns, tz=UTC]",
        "withdrawn_at_wall": "timestamp[ms, tz=UTC]",
    }
    assert str(table.schema.field("code_commit").type) == "string"
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
    exact = table["received_at_ns"].cast("int64").to_pylist()
    rows = table.drop_columns("received_at_ns").to_pylist()
    for row, ns, line in zip(rows, exact, receiver.index()[::-1], strict=True):
        assert ns == line["received_at_ns"]
        assert row.pop("received_at_wall").timestamp() == ns // 10**9
        withdrawn_at, why, url = (row.pop(key) for key in ("withdrawn_at_wall", "withdrawn_why", "url"))
        assert (why, withdrawn_at and withdrawn_at > since) == (
            ("a test", True) if line == spoiled else (None, None)
        )
        assert row == {key: value for key, value in line.items() if "_at_" not in key}
        reply = receiver.request("GET", url.removeprefix(address), headers=AUTH)
        assert (reply.status, hashlib.sha256(reply.body).hexdigest()) == (200, line["sha256"])


def test_the_address_of_exported_urls_is_configured_and_checked(receiver: Receiver) -> None:
    ship(receiver, 1)
    places = {"data_dir": receiver.data_dir, "public_url": "https://lab.example/intake"}
    [row] = csv.DictReader(run("export", **places).stdout.splitlines())
    assert (
        row["url"] == f"https://lab.example/intake/v1/episodes/{row['host_id']}/{row['episode_id']}.tar.zst"
    )
    refused = run("export", "--url", "lab.example", **places)
    assert refused.returncode == 2 and "must be an address such as" in refused.stderr

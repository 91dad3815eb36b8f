"""The command that lists the uploads in pieces, beside the receiver that takes them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.commands.running import PROGRAM, answer, run
from tests.integration.test_uploads import AUTH, TUS, create, head, send
from tests.support.archives import make_episode
from tests.support.receiver import Receiver, clean_environment


def test_it_lists_discards_and_lets_what_is_old_go(receiver: Receiver, tool: Callable[[str], str]) -> None:
    data, episode = receiver.data_dir, make_episode(1, size=2_000_000)
    assert run("uploads", data_dir=data).stdout == "no upload in pieces is under way\n"
    first, second = create(receiver, episode), create(receiver, episode, host="lab-2")
    assert send(receiver, first, 0, episode.data[:1_000_000]).status == 204
    listed = answer(run("uploads", "--json", data_dir=data))["uploads"]
    assert [(one["host_id"], one["offset"]) for one in listed] == [("lab-1", 1_000_000), ("lab-2", 0)]
    by_api = receiver.request("GET", "/v1/uploads", None, AUTH).json["uploads"]
    assert sorted(by_api, key=lambda one: one["host_id"]) == listed
    table = run("uploads", "--host", "lab-1", data_dir=data).stdout
    assert "lab-1/run-1" in table and "lab-2" not in table and " 49 %" in table
    assert max(map(len, table.splitlines())) <= 80
    metrics = receiver.request("GET", "/metrics", None, AUTH).body.decode()
    missing = 2 * len(episode.data) - 1_000_000
    assert "cis490_resumable_uploads 2.0\n" in metrics
    [told] = [line for line in metrics.splitlines() if line.startswith("cis490_resumable_missing_bytes ")]
    assert float(told.split()[1]) == missing

    unknown = run("uploads", "--discard", "feed", "--json", data_dir=data)
    assert (unknown.returncode, answer(unknown)["code"]) == (1, "no-such-upload")
    assert run("uploads", "--discard", second.rpartition("/")[2][:12], data_dir=data).returncode == 0
    assert head(receiver, second).status == 404
    assert head(receiver, first).status == 200

    # Four days later.
    late = [tool("faketime"), "-f", "+4d", PROGRAM, "health-check"]
    subprocess.run(late, env=clean_environment(data_dir=data, syslog_address=""), capture_output=True)
    assert head(receiver, first).status == 410
    assert receiver.incoming() == []
    assert receiver.request("GET", "/v1/uploads", None, AUTH | TUS).json == {"uploads": []}
    # And a day later it is forgotten.
    late[2] = "+6d"
    subprocess.run(late, env=clean_environment(data_dir=data, syslog_address=""), capture_output=True)
    assert head(receiver, first).status == 404
    assert list((data / "receipts").iterdir()) == []

"""verify: finds what rots, moves it aside when asked, and picks up where it stopped."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.support.archives import Archive, make_episode
from tests.support.receiver import AUTH, BIN, Receiver, clean_environment


def verify(receiver: Receiver, *options: str, status: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [str(BIN / "cis490-receiver"), "verify", "--json", *options],
        env=clean_environment(data_dir=receiver.data_dir, disk_reserve_bytes=0, syslog_address=""),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return answer


def test_every_kind_of_damage_is_named_and_only_rot_is_quarantined(receiver: Receiver) -> None:
    good, rotten = make_episode(1), make_episode(2)
    episodes = receiver.data_dir / "episodes" / "h"
    receiver.put("h", "good", good)
    receiver.put("h", "rotten", rotten)
    receiver.put("h", "short", make_episode(3))
    receiver.put("h", "missing", make_episode(4))
    receiver.put("h", "no-archive", Archive(b"never was one"))
    receiver.put("h", "disagrees", make_episode(5), X_Episode_Type="infected")
    assert [d["kind"] for d in verify(receiver, status=1)["damaged"]] == ["meta", "archive"]

    flipped = bytearray(rotten.data)
    flipped[len(flipped) // 2] ^= 1
    (episodes / "rotten.tar.zst").write_bytes(flipped)
    (episodes / "short.tar.zst").write_bytes(b"")
    (episodes / "missing.tar.zst").unlink()
    found = verify(receiver, status=1)
    assert found["checked"] == 6 and found["quarantined"] == []
    assert {d["episode_id"]: d["kind"] for d in found["damaged"]} == {
        "rotten": "sha256", "short": "size", "missing": "missing", "no-archive": "archive", "disagrees": "meta",
    }  # fmt: skip

    moved = verify(receiver, "--quarantine", status=1)["quarantined"]
    assert sorted(moved) == ["h/rotten", "h/short"]
    assert {line["episode_id"] for line in receiver.index()} == {"good", "no-archive", "disagrees"}
    kept = list((receiver.data_dir / "quarantine" / "h").glob("rotten.*.tar.zst"))
    assert [path.read_bytes() for path in kept] == [bytes(flipped)]
    assert '"reason": "no-episode"' in (receiver.data_dir / "index-set-aside.jsonl").read_text()
    check = subprocess.run(
        [str(BIN / "cis490-receiver"), "health-check"],
        env=clean_environment(data_dir=receiver.data_dir, disk_reserve_bytes=0, syslog_address=""),
        capture_output=True, text=True,
    )  # fmt: skip
    assert "index-damaged" in check.stdout and "2 episodes quarantined" in check.stdout
    # The name is free: the host may ship the good bytes again.
    assert receiver.put("h", "rotten", rotten).status == 201
    assert receiver.request("GET", "/v1/episodes/h/rotten.tar.zst", headers=AUTH).body == rotten.data


def test_filters_sample_and_resume(receiver: Receiver) -> None:
    for number in range(8):
        receiver.put(f"h{number % 2}", f"e{number}", make_episode(number))
    assert verify(receiver, "--host", "h1")["checked"] == 4
    assert verify(receiver, "--since", "2099-01-01")["checked"] == 0
    assert verify(receiver, "--since", "tomorrow", status=2) == {}
    assert verify(receiver, "--sample", "5", status=2) == {}
    assert verify(receiver, "--sample", "0.0001%")["checked"] <= 1
    stopped = verify(receiver, "--max-minutes", "0.0000001")
    assert (stopped["checked"], stopped["complete"]) == (0, False)
    assert verify(receiver, "--resume") == verify(receiver) | {"complete": True}

"""A line that went away again, by a crash or a failed sync, is in nobody's memory either."""

from __future__ import annotations

from pathlib import Path

from cis490_receiver.index.local import LocalIndex
from cis490_receiver.models import Episode
from tests.faults.support.driver import upload_of
from tests.support.archives import make_episode


def _episode(name: str, seed: int) -> Episode:
    archive = make_episode(seed, size=10)
    return Episode.from_upload(upload_of("host-a", name, archive), size_bytes=9, received_at_ns=10**18 + seed)


def test_a_line_of_the_same_length_does_not_stand_in_for_a_lost_one(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path)
    index.prepare()
    lost, other = _episode("ep-1", 1), _episode("ep-2", 2)
    assert len(lost.to_line()) == len(other.to_line())
    index.append(lost)
    assert index.find(lost.key) == lost
    with (tmp_path / "index.jsonl").open("r+b") as journal:
        journal.truncate(0)
    index.append(other)
    assert index.find(lost.key) is None
    assert index.find(other.key) == other
    index.close()

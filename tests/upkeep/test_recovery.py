"""What a dead writer left is completed from its trace; what only meta.json can tell comes after the start."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from cis490_receiver.backends import open_backends, use_backends
from cis490_receiver.config import Settings
from cis490_receiver.index.local import LocalIndex
from cis490_receiver.models import EpisodeKey
from cis490_receiver.stamps import Stamps
from cis490_receiver.storage import traces
from cis490_receiver.storage.filesystem import FilesystemStore
from cis490_receiver.upkeep.recovery import complete_in_background, recover_quietly
from tests.support.archives import make_episode

STAMPS = Stamps(7, "c" * 40, "infected", "db_query")
OLD = "0" * 32


@pytest.fixture
def data(tmp_path: Path) -> Path:
    open_backends(Settings(data_dir=tmp_path))
    return tmp_path


def leave(data: Path, trace: str, host: str, episode: str, content: bytes) -> None:
    """What a writer leaves that dies between publishing and indexing."""
    final = data / "episodes" / host / f"{episode}.tar.zst"
    final.parent.mkdir(exist_ok=True)
    (data / "incoming" / trace).write_bytes(content)
    os.link(data / "incoming" / trace, final)


def local(data: Path) -> tuple[FilesystemStore, LocalIndex]:
    backends = use_backends(Settings(data_dir=data))
    return backends.store, backends.index


def start(data: Path) -> None:
    recover_quietly(*local(data))


def finish(data: Path) -> None:
    complete_in_background(*local(data)).join()


def lines(data: Path) -> dict[str, Stamps]:
    found = [json.loads(line) for line in (data / "index.jsonl").read_text().splitlines()]
    names = ("schema_version", "code_commit", "episode_type", "benign_profile")
    return {line["episode_id"]: Stamps(*(line[name] for name in names)) for line in found}


@pytest.mark.parametrize(
    "key", [EpisodeKey("h", "e"), EpisodeKey("h" * 128, "e" * 128)], ids=["short", "long"]
)
def test_a_start_completes_from_the_trace_and_looks_into_no_archive(
    data: Path, key: EpisodeKey, caplog: pytest.LogCaptureFixture
) -> None:
    leave(data, traces.new_name(key, STAMPS), key.host_id, key.episode_id, make_episode(1).data)
    leave(data, traces.new_name(EpisodeKey("g", "junk"), STAMPS), "g", "junk", b"no archive at all")
    start(data)
    assert lines(data) == {key.episode_id: STAMPS, "junk": STAMPS}
    assert os.listdir(data / "incoming") == []
    assert "meta-unreadable" not in caplog.text


def test_what_the_trace_does_not_tell_is_read_after_the_start(data: Path) -> None:
    leave(data, f"h~old~{OLD}", "h", "old", make_episode(1).data)
    leave(data, f"h~junk~{OLD}", "h", "junk", b"no archive at all")
    start(data)
    assert lines(data) == {}
    assert len(os.listdir(data / "incoming")) == 2
    finish(data)
    assert lines(data) == {"old": Stamps(2, f"{1:040x}", "control", "idle"), "junk": Stamps()}
    assert os.listdir(data / "incoming") == []


def test_workers_that_complete_at_once_make_one_line(data: Path) -> None:
    for number in range(20):
        leave(data, f"h~e{number}~{OLD}", "h", f"e{number}", make_episode(number).data)
    threads = [complete_in_background(*local(data)) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert len(lines(data)) == len((data / "index.jsonl").read_text().splitlines()) == 20
    assert os.listdir(data / "incoming") == []


def test_no_name_and_no_episode_keeps_recovery_from_the_others(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    incoming = data / "incoming"
    odd = ["..~~0123", "gone~~0123", "~", "~~0", "h~..~0", "h~e~bad~x", "\udcff~e~0", "a\nb~e~0", "x" * 255]
    for name in [*odd, "h~folder~0123"]:
        (incoming / name).write_bytes(b"x")
        os.link(incoming / name, data / f"elsewhere-{os.fsencode(name).hex()[:200]}")
    (data / "episodes" / "h" / "folder.tar.zst").mkdir(parents=True)
    (incoming / "h~dir~0~marker").mkdir()
    os.mkfifo(incoming / "h~pipe~0~marker")
    for number in range(10):
        leave(data, traces.new_name(EpisodeKey("h", f"e{number}"), STAMPS), "h", f"e{number}", b"bytes")
    start(data)
    assert lines(data) == {f"e{number}": STAMPS for number in range(10)}
    assert "recovery-failed host=h id=folder" in caplog.text
    finish(data)
